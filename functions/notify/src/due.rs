//! What is told because its time has come: groups that waited, mutes that ended.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, Utc};
use shared::model::Receiver;
use shared::store::notifications::groups::{self, Member, Named};
use shared::store::notifications::mutes::{self, EndedSilence, Unheard};
use shared::store::notifications::subjects::{self, Subject};
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::App;
use crate::looking::{Entry, Look, Why, json, store, within_deadline};
use crate::notice::{Notice, NoticeKind};
use crate::problem::{self, Details};
use crate::routing::{Settings, dedup_key};
use crate::rules::Rules;
use crate::telling::Held;
use shared::store::notifications::messages::{self, NewMessage};

/// At most as many of each at a time; the sweep goes on while there are more, and it has time.
pub(crate) const LIMIT: usize = 200;

/// Tells of the groups whose time has come.
pub(crate) async fn tell_due(
    app: &App,
    rules: &Rules,
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let due = app.store.run(|client| async move { groups::list_due(&client, now, LIMIT).await }).await?;
    for group_key in &due {
        if Instant::now() >= until {
            break;
        }
        within_deadline(&app.store, || tell(app, rules, group_key, now)).await?;
    }
    Ok(due.len())
}

async fn tell(app: &App, rules: &Rules, group_key: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut client = app.store.connection().await?;
    let transaction = client.transaction().await?;
    let group = groups::lock_known(&transaction, group_key).await?;
    let Some(group) = group.filter(|group| group.due_at.is_some_and(|due| due <= now)) else { return Ok(()) };
    let mut held = Held::new(&transaction, group_key, group)?;
    // Those that a message would name, as they stand now.
    let (named, _) = groups::list_members(&transaction, group_key, Named::Active, Notice::PROBLEMS).await?;
    for member in named {
        refresh(&held, rules, &member, now).await?;
    }
    held.decide(held.timed_event(), now).await?;
    transaction.commit().await?;
    Ok(())
}

async fn refresh(held: &Held<'_>, rules: &Rules, member: &Member, now: DateTime<Utc>) -> Result<(), StoreError> {
    let Some(subject) = Subject::parse(&member.subject) else { return Ok(()) };
    let Some(present) = subjects::find_within(held.transaction, &subject).await? else { return Ok(()) };
    let member = problem::member(rules, &subject, &present, Some(member), now)?;
    store(held, &member, now).await
}

/// Tells of what was muted until now.
pub(crate) async fn tell_unmuted(
    app: &App,
    rules: &Rules,
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let ended = app.store.run(|client| async move { mutes::list_ended(&client, now, LIMIT).await }).await?;
    for (group_key, subject) in &ended {
        if Instant::now() >= until {
            break;
        }
        let Some(subject) = Subject::parse(subject) else { continue };
        let entry = Entry::Known(group_key.clone());
        Look { rules, entry: &entry, subject: &subject, why: &Why::Heard, event_id: None, now }.take(app).await?;
    }
    let silences = app.store.run(|client| async move { mutes::list_ended_silences(&client, now).await }).await?;
    for silence in &silences {
        within_deadline(&app.store, || summarise(app, rules, silence, now)).await?;
    }
    Ok(ended.len() + silences.len())
}

/// What began and ended in a silence becomes one message for each receiver whom it does not wake.
async fn summarise(app: &App, rules: &Rules, silence: &EndedSilence, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut client = app.store.connection().await?;
    let transaction = client.transaction().await?;
    let unheard = mutes::lock_unheard(&transaction, silence.id).await?;
    let (mut told, mut held) = (Vec::new(), Vec::new());
    let mut mail: BTreeMap<Receiver, Vec<Details>> = BTreeMap::new();
    for one in &unheard {
        let details = Details::read(one.details.clone())?;
        let another = rules.silences.iter().find(|it| it.id != silence.id && it.mutes(&details.labels, now));
        if let Some(another) = another {
            held.push((one, another.id));
            continue;
        }
        told.push(one);
        let settings: Settings = serde_json::from_value(one.settings.clone()).unwrap_or_default();
        for receiver in settings.receivers.into_iter().filter(|it| !it.channel().is_page()) {
            mail.entry(receiver).or_default().push(details.clone());
        }
    }
    for (receiver, problems) in mail {
        send_summary(&transaction, silence, &told, receiver, problems, now).await?;
    }
    mutes::settle_unheard(&transaction, &told, &held).await?;
    transaction.commit().await?;
    Ok(())
}

async fn send_summary(
    transaction: &Transaction<'_>,
    silence: &EndedSilence,
    told: &[&Unheard],
    receiver: Receiver,
    details: Vec<Details>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let total = details.len();
    let mut problems: Vec<_> = details.into_iter().map(|details| details.problem).collect();
    problems.sort_by_key(|problem| (std::cmp::Reverse(problem.severity), problem.since));
    problems.truncate(Notice::PROBLEMS);
    let notice = Notice {
        kind: NoticeKind::Summary,
        at: now,
        more: total - problems.len(),
        problems,
        group: None,
        remark: silence.reason.clone(),
    };
    // What ends a moment later has a summary of its own.
    let first = told.first().map_or("", |it| it.subject.as_str());
    let event_id = Uuid::new_v5(&silence.id, first.as_bytes());
    let group_key = format!("silence:{}", silence.id);
    let message = NewMessage {
        id: None,
        event_id,
        kind: notice.kind.as_str(),
        group_key: &group_key,
        dedup_key: &dedup_key(&group_key),
        content: &json(&notice)?,
    };
    messages::insert(transaction, &message, &[receiver], now).await?;
    Ok(())
}

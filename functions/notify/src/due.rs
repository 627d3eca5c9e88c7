//! What is told because its time has come: groups that waited, mutes that ended.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::{Channel, Receiver, Subject};
use shared::store::notifications::due;
use shared::store::notifications::groups;
use shared::store::notifications::mutes::{self, EndedSilence, Unheard};
use shared::store::notifications::queue::{self, NewNotification};
use shared::store::notifications::standing;
use shared::store::{StoreError, Transaction, chain};
use uuid::Uuid;

use crate::App;
use crate::looking::{Entry, Look, Why, json, within_deadline};
use crate::notification::{Notification, NotificationKind};
use crate::problem::Details;
use crate::refresh::refresh;
use crate::routing::{Settings, dedup_key};
use crate::rules::Rules;
use crate::telling::{Held, timed_event};

/// At most as many of each at a time; the sweep goes on while there are more, and it has time.
pub(crate) const LIMIT: usize = 200;
/// What has changed so long ago was heard of, unless something went wrong.
const MISSED: TimeDelta = TimeDelta::minutes(2);
/// A group that could not be told of waits so long, so that it keeps no other back.
const PASSED_OVER: TimeDelta = TimeDelta::seconds(30);

/// Tells of the groups whose time has come.
pub(crate) async fn tell_due(
    app: &App,
    rules: &Rules,
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let groups = app.store.run(|client| async move { due::list(&client, now, LIMIT).await }).await?;
    for group_key in &groups {
        if Instant::now() >= until {
            break;
        }
        if let Err(error) = within_deadline(&app.store, || tell(app, rules, group_key, now)).await {
            passed_over(group_key, error)?;
            let later = now + PASSED_OVER;
            app.store.run(|client| async move { due::postpone(&client, group_key, now, later).await }).await?;
        }
    }
    Ok(groups.len())
}

/// Logs why something can't be told, which keeps nothing else back; but where the database is away, nothing can be.
fn passed_over(what: &str, error: StoreError) -> Result<(), StoreError> {
    if matches!(error, StoreError::Unavailable(_)) {
        return Err(error);
    }
    tracing::error!(error = %chain(&error), "{what} can't be told of now");
    Ok(())
}

async fn tell(app: &App, rules: &Rules, group_key: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut client = app.store.connection().await?;
    let transaction = client.transaction().await?;
    let group = groups::lock_known(&transaction, group_key).await?;
    let Some(group) = group.filter(|group| group.due_at.is_some_and(|due| due <= now)) else { return Ok(()) };
    let mut held = Held::new(&transaction, group_key, group)?;
    refresh(&held, rules, now).await?;
    held.decide(timed_event(now), now).await?;
    transaction.commit().await?;
    Ok(())
}

/// Tells of what was missed: an event that is among the dead letters, or that came before those it follows.
pub(crate) async fn notify_missed(
    app: &App,
    rules: &Rules,
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let before = now - MISSED;
    let missed = app.store.run(|client| async move { standing::list_missed(&client, before, LIMIT).await }).await?;
    look_at(app, rules, &missed, now, until).await
}

/// Looks at these, each in its group; returns how many could be looked at.
async fn look_at(
    app: &App,
    rules: &Rules,
    members: &[(String, String)],
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let mut looked = 0;
    for (group_key, subject) in members {
        if Instant::now() >= until {
            break;
        }
        let Some(subject) = Subject::parse(subject) else { continue };
        let entry = Entry::Known(group_key.clone());
        let look =
            Look { rules, entry: &entry, subject: &subject, why: &Why::Heard, before: None, event_id: None, now };
        match look.take(app).await {
            Ok(()) => looked += 1,
            Err(error) => passed_over(&subject.to_string(), error)?,
        }
    }
    Ok(looked)
}

/// Tells of what was muted until now.
pub(crate) async fn tell_unmuted(
    app: &App,
    rules: &Rules,
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let ended = app.store.run(|client| async move { mutes::list_ended(&client, now, LIMIT).await }).await?;
    let mut told = look_at(app, rules, &ended, now, until).await?;
    let silences = app.store.run(|client| async move { mutes::list_ended_silences(&client, now).await }).await?;
    for silence in &silences {
        match within_deadline(&app.store, || summarise(app, rules, silence, now)).await {
            Ok(()) => told += 1,
            Err(error) => passed_over(&format!("silence {}", silence.id), error)?,
        }
    }
    Ok(told)
}

/// What began and ended in a silence becomes one message for each of its receivers, see [`summarised`].
async fn summarise(app: &App, rules: &Rules, silence: &EndedSilence, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut client = app.store.connection().await?;
    let transaction = client.transaction().await?;
    let unheard = mutes::lock_unheard(&transaction, silence.id).await?;
    let (mut told, mut held) = (Vec::new(), Vec::new());
    let mut mail: BTreeMap<Receiver, Vec<Details>> = BTreeMap::new();
    for one in &unheard {
        let Ok(details) = Details::read(one.details.clone()) else {
            tracing::error!(group = one.group_key, subject = one.subject, "a summary leaves out what can't be read");
            told.push(one);
            continue;
        };
        let another = rules.silences.iter().find(|it| it.id != silence.id && it.mutes(&details.labels, now));
        if let Some(another) = another {
            held.push((one, another.id));
            continue;
        }
        told.push(one);
        let settings: Settings = serde_json::from_value(one.settings.clone()).unwrap_or_default();
        for receiver in summarised(settings.receivers) {
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

/// Who hears of what is over: those whom it does not wake. Where there are none, text messages; a page never.
fn summarised(receivers: Vec<Receiver>) -> Vec<Receiver> {
    let (pages, others): (Vec<_>, Vec<_>) = receivers.into_iter().partition(|it| it.channel().is_page());
    if others.is_empty() { pages.into_iter().filter(|it| it.channel() == Channel::Sms).collect() } else { others }
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
    problems.truncate(Notification::PROBLEMS);
    let notification = Notification {
        kind: NotificationKind::Summary,
        at: now,
        more: total - problems.len(),
        problems,
        group: None,
        is_part: false,
        remark: silence.reason.clone(),
    };
    // What ends a moment later has a summary of its own.
    let first = told.first().map_or("", |it| it.subject.as_str());
    let event_id = Uuid::new_v5(&silence.id, first.as_bytes());
    let group_key = format!("silence:{}", silence.id);
    let message = NewNotification {
        id: None,
        event_id,
        kind: notification.kind.as_str(),
        group_key: &group_key,
        dedup_key: &dedup_key(&group_key),
        content: &json(&notification)?,
    };
    queue::insert(transaction, &message, &[receiver], now).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_a_text_message_only_where_nothing_else_is_read_and_never_a_page() {
        for (receivers, told) in [
            (["slack", "sms:+4915112345678"].as_slice(), ["slack"].as_slice()),
            (&["sms:+4915112345678", "pagerduty"], &["sms:+4915112345678"]),
            (&["pagerduty"], &[]),
            (&["email:a@b.c", "pagerduty", "webhook"], &["email:a@b.c", "webhook"]),
        ] {
            let parsed = |names: &[&str]| names.iter().map(|name| Receiver::parse(name).unwrap()).collect::<Vec<_>>();
            assert_eq!(summarised(parsed(receivers)), parsed(told));
        }
    }
}

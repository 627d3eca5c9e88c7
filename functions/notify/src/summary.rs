//! What began and ended in a silence: one notification for each of its receivers when the silence has ended.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use shared::model::{Receiver, Summaries};
use shared::store::notifications::mutes::{self, EndedMember, EndedSilence};
use shared::store::notifications::queue::{self, NewNotification};
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::App;
use crate::apply::first_problem;
use crate::notification::{Notification, NotificationKind, Problem};
use crate::problem;
use crate::routing::{Settings, dedup_key};
use crate::rules::Rules;

/// Summarises a silence that has ended.
///
/// # Errors
/// When the database can't be used.
pub(crate) async fn summarise(
    app: &App,
    rules: &Rules,
    silence: &EndedSilence,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    app.store
        .transaction(|mut client| async move {
            let transaction = client.transaction().await?;
            summarise_in(&transaction, rules, silence, now).await?;
            Ok(transaction.commit().await?)
        })
        .await
}

async fn summarise_in(
    transaction: &Transaction<'_>,
    rules: &Rules,
    silence: &EndedSilence,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let ended = mutes::lock_ended_members(transaction, silence.id).await?;
    let (mut summarised, mut moved) = (Vec::new(), Vec::new());
    let mut summaries: BTreeMap<Receiver, Vec<Problem>> = BTreeMap::new();
    for one in &ended {
        let problem = problem::read(one.member.problem.clone());
        let Some((labels, problem)) = one.member.labels.as_ref().zip(problem.ok()) else {
            let (group, subject) = (&one.group_key, one.member.subject.to_string());
            tracing::error!(group, subject, "a summary leaves out {subject}: it can't be read");
            summarised.push(one);
            continue;
        };
        let another = rules.silences.iter().find(|it| it.id != silence.id && it.mutes(labels, now));
        if let Some(another) = another {
            moved.push((one, another.id));
            continue;
        }
        summarised.push(one);
        let settings: Settings = serde_json::from_value(one.settings.clone()).unwrap_or_default();
        for receiver in receivers(settings.receivers) {
            summaries.entry(receiver).or_default().push(problem.clone());
        }
    }
    for (receiver, problems) in summaries {
        insert(transaction, silence, &summarised, receiver, problems, now).await?;
    }
    mutes::settle_ended_members(transaction, &summarised, &moved).await
}

/// The receivers of a summary.
fn receivers(all: Vec<Receiver>) -> Vec<Receiver> {
    let takes = |receiver: &Receiver, summaries| receiver.channel().traits().summaries == summaries;
    let wanted = if all.iter().any(|it| takes(it, Summaries::All)) { Summaries::All } else { Summaries::Alone };
    all.into_iter().filter(|receiver| takes(receiver, wanted)).collect()
}

async fn insert(
    transaction: &Transaction<'_>,
    silence: &EndedSilence,
    summarised: &[&EndedMember],
    receiver: Receiver,
    mut problems: Vec<Problem>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let total = problems.len();
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
    let first = summarised.first().map_or_else(String::new, |it| it.member.subject.to_string());
    let group_key = format!("silence:{}", silence.id);
    let new = NewNotification {
        id: None,
        event_id: Uuid::new_v5(&silence.id, first.as_bytes()),
        kind: notification.kind,
        group_key: &group_key,
        dedup_key: &dedup_key(&group_key),
        content: &serde_json::to_value(&notification).map_err(StoreError::internal)?,
        first: first_problem(&notification),
    };
    queue::insert(transaction, &new, &[receiver], now).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_a_text_message_only_where_no_other_channel_takes_it_and_never_a_page() {
        for (all, wanted) in [
            (["slack", "sms:+4915112345678"].as_slice(), ["slack"].as_slice()),
            (&["sms:+4915112345678", "pagerduty"], &["sms:+4915112345678"]),
            (&["pagerduty"], &[]),
            (&["email:a@b.c", "pagerduty", "webhook"], &["email:a@b.c", "webhook"]),
        ] {
            let parsed = |names: &[&str]| names.iter().map(|name| Receiver::parse(name).unwrap()).collect::<Vec<_>>();
            assert_eq!(receivers(parsed(all)), parsed(wanted));
        }
    }
}

//! Which messages go to a receiver now: those that its bucket has tokens for, of the urgent ones as many more, and one digest
//! of what has waited too long. What must not be sent any more is left out, with the reason.

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::{Channel, Receiver};
use shared::store::notifications::queue::{self, Claim, NewNotification, QueuedNotification, Skipped};
use shared::store::notifications::receivers::{self, ReceiverState};
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::App;
use crate::limits::{Bucket, Limit, is_digestible, limit};
use crate::looking::json;
use crate::notification::{Notification, NotificationKind};
use crate::routing::dedup_key;

/// As many at a time.
const BATCH: usize = 50;
/// A claim is believed this long. Nothing is sent under it for the last ten seconds, which one message may take.
pub(crate) const CLAIM: TimeDelta = TimeDelta::seconds(60);

/// What was claimed for a receiver.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    pub(crate) messages: Vec<QueuedNotification>,
    /// Whether there may be more to claim.
    pub(crate) goes_on: bool,
    /// How often in a row the receiver could not be reached.
    pub(crate) failures: i32,
}

/// What is done with the messages that wait.
#[derive(Debug, Default)]
struct Plan {
    go: Vec<QueuedNotification>,
    skip: Vec<Skipped>,
    /// How many of those that go have taken a token.
    taken: usize,
    /// Whether some have to wait because they are too many.
    is_held: bool,
    /// Whether those become a digest now.
    makes_digest: bool,
}

/// Claims what may go to this receiver now.
pub(crate) async fn claim(app: &App, receiver: &Receiver, by: Uuid, now: DateTime<Utc>) -> Result<Claimed, StoreError> {
    let mut client = app.store.connection().await?;
    let transaction = client.transaction().await?;
    let Some(state) = receivers::lock(&transaction, receiver, now).await? else { return Ok(Claimed::default()) };
    let waiting = queue::list_waiting(&transaction, receiver, now, BATCH).await?;
    let left_today = match (receiver.channel(), app.sms_daily_limit) {
        (Channel::Sms, Some(daily)) if !waiting.is_empty() => {
            let sent = queue::count_sms_of_day(&transaction, now).await?;
            usize::try_from(i64::from(daily) - sent).unwrap_or(0)
        }
        _ => usize::MAX,
    };
    let limit = limit(receiver.channel());
    let bucket = limit.map(|limit| (Bucket::refilled(bucket_of(&state), limit, now), limit));
    let seen = waiting.len();
    let plan = plan(receiver.channel(), waiting, bucket, state.held_since, left_today, now);
    let ids: Vec<Uuid> = plan.go.iter().map(|message| message.id).collect();
    queue::claim(&transaction, &ids, &plan.skip, Claim { by, until: now + CLAIM }).await?;
    if plan.makes_digest {
        digest(&transaction, receiver, now).await?;
    }
    let held_since = plan.is_held.then(|| state.held_since.unwrap_or(now));
    if let Some((bucket, _)) = bucket {
        let bucket = bucket.without(plan.taken + usize::from(plan.makes_digest));
        let next =
            ReceiverState { tokens: Some(bucket.tokens), refilled_at: Some(bucket.refilled_at), held_since, ..state };
        if seen > 0 || next.held_since != state.held_since {
            receivers::update(&transaction, receiver, &next).await?;
        }
    }
    transaction.commit().await?;
    let goes_on = plan.makes_digest || !plan.skip.is_empty() || !plan.go.is_empty();
    Ok(Claimed { messages: plan.go, goes_on, failures: state.failures })
}

fn bucket_of(state: &ReceiverState) -> Option<Bucket> {
    Some(Bucket { tokens: state.tokens?, refilled_at: state.refilled_at? })
}

/// What is done with these. Pure.
fn plan(
    channel: Channel,
    waiting: Vec<QueuedNotification>,
    bucket: Option<(Bucket, Limit)>,
    held_since: Option<DateTime<Utc>>,
    mut left_today: usize,
    now: DateTime<Utc>,
) -> Plan {
    let mut plan = Plan::default();
    let mut urgent = bucket.map_or(usize::MAX, |(bucket, limit)| bucket.fits_urgent(limit));
    let mut ordinary = Vec::new();
    for message in waiting {
        if let Some(why) = pointless(channel, &message) {
            plan.skip.push(Skipped { id: message.id, why, is_failure: false });
        } else if left_today == 0 && !message.is_replayed {
            let why = "as many text messages as a day may have went out already";
            plan.skip.push(Skipped { id: message.id, why, is_failure: true });
        } else if is_unlimited(&message) || (is_urgent(&message) && urgent > 0) {
            if !is_unlimited(&message) {
                urgent -= 1;
                plan.taken += 1;
            }
            left_today = left_today.saturating_sub(1);
            plan.go.push(message);
        } else {
            ordinary.push(message);
        }
    }
    let is_line = |message: &QueuedNotification| {
        NotificationKind::parse(&message.kind).is_some_and(|kind| is_digestible(channel, kind))
    };
    let rest = bucket.map(|(bucket, limit)| (bucket.without(plan.taken), limit));
    let mut fits = rest.map_or(usize::MAX, |(bucket, _)| bucket.fits());
    let is_due = rest.is_some_and(|(bucket, limit)| {
        let debt = ordinary.iter().any(is_urgent).then_some(limit);
        bucket.is_digest_due(held_since, debt, now)
    });
    plan.makes_digest = is_due && ordinary.len() > fits && ordinary.iter().filter(|it| is_line(it)).count() > 1;
    for message in ordinary {
        if plan.makes_digest && is_line(&message) {
            continue;
        }
        if fits > 0 && left_today > 0 {
            fits -= 1;
            left_today -= 1;
            plan.taken += 1;
            plan.go.push(message);
        } else {
            plan.is_held = true;
        }
    }
    plan
}

/// What is told whatever the bucket says: what an operator wants sent again, and a digest, which has taken its token.
fn is_unlimited(message: &QueuedNotification) -> bool {
    message.is_replayed || NotificationKind::parse(&message.kind) == Some(NotificationKind::Digest)
}

/// What may put the bucket into debt.
fn is_urgent(message: &QueuedNotification) -> bool {
    NotificationKind::parse(&message.kind) == Some(NotificationKind::Escalated)
}

/// Why a message has no sense any more, if it has none.
fn pointless(channel: Channel, message: &QueuedNotification) -> Option<&'static str> {
    if message.is_replayed {
        return None;
    }
    match NotificationKind::parse(&message.kind)? {
        kind if channel.is_page() && message.is_over && kind.is_alarm() => Some("over before it could be told"),
        kind if channel.is_page() && message.is_taken && kind.is_alarm() => {
            Some("somebody was on it before it could be told")
        }
        NotificationKind::Resolved | NotificationKind::Acknowledged if !message.was_told => {
            // PagerDuty may have taken what we think it has not; an end too many harms nothing there.
            let may_know = channel == Channel::PagerDuty && message.was_tried;
            (!may_know).then_some("nobody was told that it began")
        }
        _ => None,
    }
}

/// All that waits becomes one message.
async fn digest(transaction: &Transaction<'_>, receiver: &Receiver, now: DateTime<Utc>) -> Result<(), StoreError> {
    let id = shared::model::uuid_at(now);
    let (contents, total) = queue::gather(transaction, receiver, id, Notification::PROBLEMS).await?;
    let total = usize::try_from(total).unwrap_or(0);
    if total == 0 {
        // All of it is on its way.
        return Ok(());
    }
    let read = contents.into_iter().filter_map(|content| serde_json::from_value::<Notification>(content).ok());
    let problems: Vec<_> = read.filter_map(|notification| notification.problems.into_iter().next()).collect();
    let notification = Notification {
        kind: NotificationKind::Digest,
        at: now,
        more: total.saturating_sub(problems.len()),
        problems,
        group: None,
        is_part: false,
        remark: Some(format!("{total} more: too many to be told one by one.")),
    };
    let group_key = format!("digest:{id}");
    let message = NewNotification {
        id: Some(id),
        event_id: id,
        kind: notification.kind.as_str(),
        group_key: &group_key,
        dedup_key: &dedup_key(&group_key),
        content: &json(&notification)?,
    };
    queue::insert(transaction, &message, std::slice::from_ref(receiver), now).await?;
    Ok(())
}

#[cfg(test)]
mod tests;

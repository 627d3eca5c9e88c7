//! Which notifications go to a receiver now: those that its bucket has tokens for, of the urgent ones as many more, and one
//! digest of what was throttled too long. What must not be sent any more is skipped, with the reason.

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::{Channel, RateLimit, Receiver};
use shared::store::notifications::queue::{self, Claim, NewNotification, QueuedNotification, Skipped};
use shared::store::notifications::receivers::{self, ReceiverState};
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::App;
use crate::apply::first_problem;
use crate::limits::Bucket;
use crate::notification::{Notification, NotificationKind};
use crate::pagerduty_state;
use crate::routing::dedup_key;

/// As many at a time.
const BATCH: usize = 50;
/// A claim lasts this long. Nothing is sent under it in the last ten seconds, which one delivery may take.
pub(crate) const CLAIM: TimeDelta = TimeDelta::seconds(60);

/// What was claimed for a receiver.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    pub(crate) notifications: Vec<QueuedNotification>,
    /// Whether there may be more to claim.
    pub(crate) goes_on: bool,
    /// Failed attempts of the receiver in a row.
    pub(crate) failures: i32,
}

/// What is done with the notifications that wait.
#[derive(Debug, Default)]
struct Selection {
    go: Vec<QueuedNotification>,
    skip: Vec<Skipped>,
    /// How many of those that go have taken a token.
    taken: usize,
    /// Whether some are throttled.
    is_throttled: bool,
    /// Whether those become a digest now.
    makes_digest: bool,
}

/// Claims what may go to this receiver now.
pub(crate) async fn claim(app: &App, receiver: &Receiver, by: Uuid, now: DateTime<Utc>) -> Result<Claimed, StoreError> {
    app.store
        .transaction(|mut client| async move {
            let transaction = client.transaction().await?;
            let claimed = claim_in(&transaction, app.sms_daily_limit, receiver, by, now).await?;
            transaction.commit().await?;
            Ok(claimed)
        })
        .await
}

async fn claim_in(
    transaction: &Transaction<'_>,
    sms_daily_limit: Option<u32>,
    receiver: &Receiver,
    by: Uuid,
    now: DateTime<Utc>,
) -> Result<Claimed, StoreError> {
    let Some(state) = receivers::lock(transaction, receiver, now).await? else { return Ok(Claimed::default()) };
    let waiting = queue::list_waiting(transaction, receiver, now, BATCH).await?;
    let left_today = match (receiver.channel(), sms_daily_limit) {
        (Channel::Sms, Some(daily)) if !waiting.is_empty() => {
            let sent = queue::count_sms_of_day(transaction, now).await?;
            usize::try_from(i64::from(daily) - sent).unwrap_or(0)
        }
        _ => usize::MAX,
    };
    let limit = receiver.channel().traits().rate_limit;
    let bucket = limit.map(|limit| (Bucket::refilled(bucket_of(&state), limit, now), limit));
    let is_idle = waiting.is_empty();
    let selection = select(receiver.channel(), waiting, bucket, state.throttled_since, left_today, now);
    let ids: Vec<Uuid> = selection.go.iter().map(|it| it.id).collect();
    queue::claim(transaction, &ids, &selection.skip, Claim { by, until: now + CLAIM }).await?;
    if selection.makes_digest {
        digest(transaction, receiver, now).await?;
    }
    let throttled_since = selection.is_throttled.then(|| state.throttled_since.unwrap_or(now));
    if let Some((bucket, _)) = bucket
        && (!is_idle || throttled_since != state.throttled_since)
    {
        let bucket = bucket.without(selection.taken + usize::from(selection.makes_digest));
        let (tokens, refilled_at) = (Some(bucket.tokens), Some(bucket.refilled_at));
        let next = ReceiverState { tokens, refilled_at, throttled_since, ..state };
        receivers::update(transaction, receiver, &next).await?;
    }
    let goes_on = selection.makes_digest || !selection.skip.is_empty() || !selection.go.is_empty();
    Ok(Claimed { notifications: selection.go, goes_on, failures: state.failures })
}

fn bucket_of(state: &ReceiverState) -> Option<Bucket> {
    Some(Bucket { tokens: state.tokens?, refilled_at: state.refilled_at? })
}

/// What is done with these. Pure.
fn select(
    channel: Channel,
    waiting: Vec<QueuedNotification>,
    bucket: Option<(Bucket, RateLimit)>,
    throttled_since: Option<DateTime<Utc>>,
    mut left_today: usize,
    now: DateTime<Utc>,
) -> Selection {
    let mut selection = Selection::default();
    let mut urgent = bucket.map_or(usize::MAX, |(bucket, limit)| bucket.fits_urgent(limit));
    let mut ordinary = Vec::new();
    for message in waiting {
        if let Some(why) = pointless(channel, &message) {
            selection.skip.push(Skipped { id: message.id, why, is_failure: false });
        } else if left_today == 0 && !message.is_replayed {
            let why = "the daily limit of text messages was reached";
            selection.skip.push(Skipped { id: message.id, why, is_failure: true });
        } else if is_unlimited(&message) || (is_urgent(&message) && urgent > 0) {
            if !is_unlimited(&message) {
                urgent -= 1;
                selection.taken += 1;
            }
            left_today = left_today.saturating_sub(1);
            selection.go.push(message);
        } else {
            ordinary.push(message);
        }
    }
    let is_line = |message: &QueuedNotification| channel.traits().digests && message.kind != NotificationKind::Digest;
    let rest = bucket.map(|(bucket, limit)| (bucket.without(selection.taken), limit));
    let mut fits = rest.map_or(usize::MAX, |(bucket, _)| bucket.fits());
    let is_due = rest.is_some_and(|(bucket, limit)| {
        let debt = ordinary.iter().any(is_urgent).then_some(limit);
        bucket.is_digest_due(throttled_since, debt, now)
    });
    selection.makes_digest = is_due && ordinary.len() > fits && ordinary.iter().filter(|it| is_line(it)).count() > 1;
    for message in ordinary {
        if selection.makes_digest && is_line(&message) {
            continue;
        }
        if fits > 0 && left_today > 0 {
            fits -= 1;
            left_today -= 1;
            selection.taken += 1;
            selection.go.push(message);
        } else {
            selection.is_throttled = true;
        }
    }
    selection
}

/// What needs no token: what an operator replays, and a digest, which has taken its token.
fn is_unlimited(message: &QueuedNotification) -> bool {
    message.is_replayed || message.kind == NotificationKind::Digest
}

/// What may put the bucket into debt.
fn is_urgent(message: &QueuedNotification) -> bool {
    message.kind == NotificationKind::Escalated
}

/// Why a notification is pointless by now, if it is.
fn pointless(channel: Channel, message: &QueuedNotification) -> Option<&'static str> {
    if message.is_replayed {
        return None;
    }
    match message.kind {
        kind if channel.traits().pages && message.is_over && kind.is_alarm() => Some("over before it was sent"),
        kind if channel.traits().pages && message.is_taken && kind.is_alarm() => {
            Some("acknowledged before it was sent")
        }
        NotificationKind::Resolved | NotificationKind::Acknowledged if !message.was_notified => {
            (!pagerduty_state::may_be_open(channel, message.was_tried))
                .then_some("the receiver was not notified before")
        }
        _ => None,
    }
}

/// All that is throttled becomes one notification.
async fn digest(transaction: &Transaction<'_>, receiver: &Receiver, now: DateTime<Utc>) -> Result<(), StoreError> {
    let id = shared::model::uuid_at(now);
    let (contents, total) = queue::gather(transaction, receiver, id, Notification::PROBLEMS).await?;
    let total = usize::try_from(total).unwrap_or(0);
    if total == 0 {
        // All of it is being sent.
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
        remark: Some(format!("{total} more: too many to send one by one.")),
    };
    let group_key = format!("digest:{id}");
    let new = NewNotification {
        id: Some(id),
        event_id: id,
        kind: notification.kind,
        group_key: &group_key,
        dedup_key: &dedup_key(&group_key),
        content: &serde_json::to_value(&notification).map_err(StoreError::internal)?,
        first: first_problem(&notification),
    };
    queue::insert(transaction, &new, std::slice::from_ref(receiver), now).await?;
    Ok(())
}

#[cfg(test)]
mod tests;

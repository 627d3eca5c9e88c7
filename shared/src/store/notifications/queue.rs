//! `notifications`: the queue of notifications. They are stored under the lock of their group, claimed under the lock of their
//! receiver.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::kind::NotificationKind;
use super::members::ProblemState;
use crate::model::{Receiver, Severity, uuid_at};
use crate::store::StoreError;
use crate::store::row::{column, word};

/// A notification to store.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNotification<'a> {
    /// Its own id, where it goes to one receiver and the caller needs it.
    pub id: Option<Uuid>,
    /// Its event. With the receiver it is the idempotency key.
    pub event_id: Uuid,
    /// Why it is sent.
    pub kind: NotificationKind,
    /// What is notified together.
    pub group_key: &'a str,
    /// The channels' key of the problem.
    pub dedup_key: &'a str,
    /// What it says: written and read by `notify` only.
    pub content: &'a Value,
    /// The first problem that it names: lists show it, digests are sorted by it.
    pub first: Option<FirstProblem<'a>>,
}

/// The first problem that a notification names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstProblem<'a> {
    /// Its state.
    pub state: ProblemState,
    /// How severe it is.
    pub severity: Severity,
    /// One line.
    pub title: &'a str,
    /// `INC-…`, where it is an incident.
    pub incident_id: Option<&'a str>,
}

/// A notification that was claimed, or could be.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedNotification {
    /// Which.
    pub id: Uuid,
    /// Why it is sent.
    pub kind: NotificationKind,
    /// The channels' key of the problem.
    pub dedup_key: String,
    /// What it says.
    pub content: Value,
    /// How often it was sent.
    pub attempts: i32,
    /// When it was stored, or replayed by an operator.
    pub created_at: DateTime<Utc>,
    /// Whether an operator replays it.
    pub is_replayed: bool,
    /// Whether the notification of the end is queued behind it.
    pub is_over: bool,
    /// Whether an acknowledgement is queued behind it, and nothing of its group is unacknowledged.
    pub is_taken: bool,
    /// Whether this receiver was notified of the problem before.
    pub was_notified: bool,
    /// Whether an earlier notification of the problem was attempted, with any result.
    pub was_tried: bool,
    /// The channel's reference of the newest message about the same group.
    pub earlier: Option<Value>,
}

/// A notification that is not sent, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Which notification.
    pub id: Uuid,
    /// Why it is not sent.
    pub why: &'static str,
    /// Whether it should have been sent: then it counts as failed.
    pub is_failure: bool,
}

/// Stores a notification for each of these receivers; returns how many are new. A receiver gets one notification of an event.
///
/// # Errors
/// Any store error.
pub async fn insert(
    transaction: &Transaction<'_>,
    new: &NewNotification<'_>,
    receivers: &[Receiver],
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let sql = "
        WITH named AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) AS named (id, channel, recipient)
            ORDER BY channel, recipient
        ),
        known AS (
            INSERT INTO public.notification_receivers (channel, recipient)
            SELECT channel, recipient FROM named
            ON CONFLICT DO NOTHING
        )
        INSERT INTO public.notifications
            (id, event_id, channel, recipient, kind, group_key, dedup_key, content, next_attempt_at, created_at,
            problem_state, problem_severity, problem_title, incident_id)
        SELECT id, $4, channel, recipient, $5, $6, $7, $8, $9, $9, $10, $11, $12, $13 FROM named
        ON CONFLICT (event_id, channel, recipient) DO NOTHING";
    let mut receivers: Vec<&Receiver> = receivers.iter().collect();
    receivers.sort_unstable();
    let ids: Vec<Uuid> = receivers.iter().map(|_| new.id.unwrap_or_else(|| uuid_at(now))).collect();
    let channels: Vec<&str> = receivers.iter().map(|receiver| receiver.channel().as_str()).collect();
    let recipients: Vec<&str> = receivers.iter().map(|receiver| receiver.recipient()).collect();
    let parameters = [
        (&ids as _, Type::UUID_ARRAY),
        (&channels as _, Type::TEXT_ARRAY),
        (&recipients as _, Type::TEXT_ARRAY),
        (&new.event_id as _, Type::UUID),
        (&new.kind.as_str() as _, Type::TEXT),
        (&new.group_key as _, Type::TEXT),
        (&new.dedup_key as _, Type::TEXT),
        (new.content as _, Type::JSONB),
        (&now as _, Type::TIMESTAMPTZ),
        (&new.first.map(|first| first.state.as_str()) as _, Type::TEXT),
        (&new.first.map(|first| first.severity.as_str()) as _, Type::TEXT),
        (&new.first.map(|first| first.title) as _, Type::TEXT),
        (&new.first.and_then(|first| first.incident_id) as _, Type::TEXT),
    ];
    Ok(transaction.execute_typed(sql, &parameters).await?)
}

/// The notifications of a receiver that may be sent now, in order: of one group only the first. Urgent ones come first.
///
/// # Errors
/// Any store error.
pub async fn list_waiting(
    transaction: &Transaction<'_>,
    receiver: &Receiver,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<QueuedNotification>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters = [
        (&receiver.channel().as_str() as _, Type::TEXT),
        (&receiver.recipient() as _, Type::TEXT),
        (&now as _, Type::TIMESTAMPTZ),
        (&limit as _, Type::INT8),
    ];
    let rows = transaction.query_typed(include_str!("../sql/list_waiting_notifications.sql"), &parameters).await?;
    rows.iter().map(waiting_of).collect()
}

/// Claims these notifications, and skips those.
///
/// # Errors
/// Any store error.
pub async fn claim(
    transaction: &Transaction<'_>,
    ids: &[Uuid],
    skipped: &[Skipped],
    claim: Claim,
) -> Result<(), StoreError> {
    let take = "
        UPDATE public.notifications
        SET status = 'sending', attempts = attempts + 1, claimed_by = $2, claimed_until = $3
        WHERE id = ANY($1)";
    let leave_out = "
        UPDATE public.notifications AS message
        SET status = CASE WHEN skipped.is_failure THEN 'failed' ELSE 'skipped' END, last_error = skipped.why,
            claimed_by = NULL, claimed_until = NULL
        FROM unnest($1::uuid[], $2::text[], $3::bool[]) AS skipped (id, why, is_failure)
        WHERE message.id = skipped.id";
    if !ids.is_empty() {
        let parameters =
            [(&ids as _, Type::UUID_ARRAY), (&claim.by as _, Type::UUID), (&claim.until as _, Type::TIMESTAMPTZ)];
        transaction.execute_typed(take, &parameters).await?;
    }
    if !skipped.is_empty() {
        let ids: Vec<Uuid> = skipped.iter().map(|it| it.id).collect();
        let whys: Vec<&str> = skipped.iter().map(|it| it.why).collect();
        let failures: Vec<bool> = skipped.iter().map(|it| it.is_failure).collect();
        let parameters =
            [(&ids as _, Type::UUID_ARRAY), (&whys as _, Type::TEXT_ARRAY), (&failures as _, Type::BOOL_ARRAY)];
        transaction.execute_typed(leave_out, &parameters).await?;
    }
    Ok(())
}

/// Which run sends, and how long its claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which run.
    pub by: Uuid,
    /// Until when; afterwards the notifications may be claimed again.
    pub until: DateTime<Utc>,
}

/// Makes throttled notifications lines of the digest with this id, but for claimed ones: returns the contents of the most
/// severe, one of each group, and the number of groups. Of more than 5,000 notifications the rest is left for the next digest.
///
/// # Errors
/// Any store error.
pub async fn gather(
    transaction: &Transaction<'_>,
    receiver: &Receiver,
    digest: Uuid,
    limit: usize,
) -> Result<(Vec<Value>, i64), StoreError> {
    let sql = "
        WITH gathered AS (
            UPDATE public.notifications
            SET status = 'digested', digest_id = $3, claimed_by = NULL, claimed_until = NULL
            WHERE id IN (
                -- Also those that wait for a retry: they would be sent after their own end.
                SELECT id FROM public.notifications
                WHERE channel = $1 AND recipient = $2 AND status = 'pending'
                    AND kind <> 'digest' AND replayed_at IS NULL
                    AND group_key NOT IN (
                        SELECT group_key FROM public.notifications
                        WHERE channel = $1 AND recipient = $2 AND status = 'sending'
                    )
                ORDER BY seq
                LIMIT 5000
                FOR UPDATE
            )
            RETURNING seq, group_key, content, problem_state, problem_severity
        ),
        newest AS (
            SELECT DISTINCT ON (group_key) seq, content, problem_state, problem_severity
            FROM gathered
            ORDER BY group_key, seq DESC
        )
        SELECT content, (SELECT count(*) FROM newest) AS total
        FROM newest
        ORDER BY
            problem_state = 'resolved', array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], problem_severity), seq
        LIMIT $4";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters = [
        (&receiver.channel().as_str() as _, Type::TEXT),
        (&receiver.recipient() as _, Type::TEXT),
        (&digest as _, Type::UUID),
        (&limit as _, Type::INT8),
    ];
    let rows = transaction.query_typed(sql, &parameters).await?;
    let total = rows.first().map_or(Ok(0), |row| column(row, "total"))?;
    Ok((rows.iter().map(|row| column(row, "content")).collect::<Result<_, _>>()?, total))
}

/// How many text messages were sent in the day of this instant (UTC), or are being sent. The advisory lock excludes other
/// transactions until this one ends: recipients are claimed one by one, but share the daily limit.
///
/// # Errors
/// Any store error.
pub async fn count_sms_of_day(transaction: &Transaction<'_>, now: DateTime<Utc>) -> Result<i64, StoreError> {
    let sql = "
        SELECT
            (SELECT count(*) FROM public.notifications
            WHERE channel = 'sms' AND sent_at IS NOT NULL AND sent_at >= date_trunc('day', $1, 'UTC'))
            + (SELECT count(*) FROM public.notifications
            WHERE channel = 'sms' AND status = 'sending' AND claimed_until > $1) AS messages";
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('watchkeeper.sms_of_day', 0))::text";
    transaction.query_typed(lock, &[]).await?;
    let rows = transaction.query_typed(sql, &[(&now, Type::TIMESTAMPTZ)]).await?;
    rows.first().map_or(Ok(0), |row| column(row, "messages"))
}

fn waiting_of(row: &Row) -> Result<QueuedNotification, StoreError> {
    Ok(QueuedNotification {
        id: column(row, "id")?,
        kind: word(row, "kind", NotificationKind::parse)?,
        dedup_key: column(row, "dedup_key")?,
        content: column(row, "content")?,
        attempts: column(row, "attempts")?,
        created_at: column(row, "created_at")?,
        is_replayed: column(row, "is_replayed")?,
        is_over: column(row, "is_over")?,
        is_taken: column(row, "is_taken")?,
        was_notified: column(row, "was_notified")?,
        was_tried: column(row, "was_tried")?,
        earlier: column(row, "earlier")?,
    })
}

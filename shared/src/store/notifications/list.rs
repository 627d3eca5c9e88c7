//! Notifications as operators read them, and replaying one.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::store::row::column;
use crate::store::{Client, StoreError};

/// Which notifications.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that failed permanently.
    pub failed: bool,
}

/// A notification as stored. Field names are the column names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Which.
    pub id: Uuid,
    /// Its event.
    pub event_id: Uuid,
    /// Over which channel.
    pub channel: String,
    /// To which recipient.
    pub recipient: String,
    /// Why it is sent.
    pub kind: String,
    /// What is notified together.
    pub group_key: String,
    /// The channel's key of the problem.
    pub dedup_key: String,
    /// Its status.
    pub status: String,
    /// How often it was sent.
    pub attempts: i32,
    /// The first problem's title.
    pub title: Option<String>,
    /// The first problem's incident.
    pub incident_id: Option<String>,
    /// The HTTP status of the last answer.
    pub response_status: Option<i32>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it is sent, where it waits.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
}

/// The result of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is sent with the next sweep.
    Queued,
    /// It was waiting for its delivery; now it is due.
    Waiting,
    /// There is no such notification.
    Unknown,
}

/// Notifications, newest first; at most `limit`.
///
/// # Errors
/// Any store error.
pub async fn list(client: &Client, filter: &Filter, limit: u16) -> Result<Vec<Listed>, StoreError> {
    // The condition is written out, since it is the index's.
    let condition = if filter.failed { "WHERE status = 'failed'" } else { "" };
    let sql = format!(
        "SELECT id, event_id, channel, recipient, kind, group_key, dedup_key, status, attempts,
            problem_title AS title, incident_id, response_status, last_error,
            CASE WHEN status IN ('pending', 'sending') THEN next_attempt_at END AS next_attempt_at, created_at, sent_at
        FROM public.notifications
        {condition}
        ORDER BY created_at DESC, id DESC
        LIMIT $1"
    );
    let rows = client.query_typed(&sql, &[(&i64::from(limit), Type::INT8)]).await?;
    rows.iter().map(listed_of).collect()
}

/// Sends a notification again, whatever its status; a waiting one is due now. Its receiver is no longer paused.
///
/// # Errors
/// Any store error.
pub async fn replay(client: &Client, id: Uuid, now: DateTime<Utc>) -> Result<Replay, StoreError> {
    // One that is being sent at this moment is left to the run that sends it.
    let sql = "
        WITH known AS (
            SELECT id, status, channel, recipient FROM public.notifications WHERE id = $1 FOR UPDATE
        ),
        queued AS (
            UPDATE public.notifications AS message
            SET
                status = 'pending', next_attempt_at = $2, claimed_by = NULL, claimed_until = NULL, digest_id = NULL,
                replayed_at = $2
            FROM known
            WHERE message.id = known.id AND known.status <> 'sending'
        ),
        resumed AS (
            UPDATE public.notification_receivers AS receiver
            SET paused_until = NULL
            FROM known
            WHERE receiver.channel = known.channel AND receiver.recipient = known.recipient
        )
        SELECT status FROM known";
    let rows = client.query_typed(sql, &[(&id, Type::UUID), (&now, Type::TIMESTAMPTZ)]).await?;
    let Some(row) = rows.first() else { return Ok(Replay::Unknown) };
    Ok(match column::<&str>(row, "status")? {
        "pending" | "sending" => Replay::Waiting,
        _ => Replay::Queued,
    })
}

fn listed_of(row: &Row) -> Result<Listed, StoreError> {
    Ok(Listed {
        id: column(row, "id")?,
        event_id: column(row, "event_id")?,
        channel: column(row, "channel")?,
        recipient: column(row, "recipient")?,
        kind: column(row, "kind")?,
        group_key: column(row, "group_key")?,
        dedup_key: column(row, "dedup_key")?,
        status: column(row, "status")?,
        attempts: column(row, "attempts")?,
        title: column(row, "title")?,
        incident_id: column(row, "incident_id")?,
        response_status: column(row, "response_status")?,
        last_error: column(row, "last_error")?,
        next_attempt_at: column(row, "next_attempt_at")?,
        created_at: column(row, "created_at")?,
        sent_at: column(row, "sent_at")?,
    })
}

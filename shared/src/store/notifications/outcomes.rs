//! The result of a delivery attempt: stored right after it, for the notification and for its receiver.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::receivers::Health;
use crate::model::Receiver;
use crate::store::{Client, StoreError};

/// An attempt to send a notification.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Which notification.
    pub id: Uuid,
    /// To which receiver.
    pub receiver: &'a Receiver,
    /// Under which claim.
    pub claimed_by: Uuid,
    /// When it ended.
    pub at: DateTime<Utc>,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// Why, without a secret.
    pub error: &'a str,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// When it is retried; none = never.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The effect on the receiver.
    pub health: Health,
}

/// Marks a notification as sent. Of an e-mail `email_tracking` gets a row, which the vendor's events fill.
///
/// # Errors
/// Any store error.
pub async fn mark_sent(
    client: &Client,
    attempt: &Attempt<'_>,
    status: Option<u16>,
    remote: Option<&Value>,
) -> Result<(), StoreError> {
    // Also if another run has claimed it meanwhile: it was delivered.
    let sql = "
        WITH message AS (
            UPDATE public.notifications
            SET status = 'sent', sent_at = $2, response_status = $3, remote = $4, last_error = NULL,
                claimed_by = NULL, claimed_until = NULL
            WHERE id = $1 AND status IN ('sending', 'pending')
            RETURNING id, channel, recipient, incident_id, remote
        ),
        healthy AS (
            UPDATE public.notification_receivers AS receiver
            SET failures = 0, failing_since = NULL, last_error = NULL, paused_until = NULL
            WHERE receiver.channel = $5 AND receiver.recipient = $6 AND receiver.failures > 0
        )
        INSERT INTO public.email_tracking AS known (email_id, incident_id, recipient, subject, sent_at, status)
        SELECT message.id::text, incident.id, left(message.recipient, 255), message.remote ->> 'subject', $2, 'sent'
        FROM message
        LEFT JOIN public.incidents AS incident ON incident.incident_id = message.incident_id
        WHERE message.channel = 'email'
        ON CONFLICT (email_id) DO UPDATE SET
            sent_at = EXCLUDED.sent_at, incident_id = coalesce(known.incident_id, EXCLUDED.incident_id),
            subject = coalesce(known.subject, EXCLUDED.subject),
            -- The vendor's events may come first; of an e-mail that is sent again they are outdated.
            status = CASE WHEN known.sent_at IS NULL THEN known.status ELSE EXCLUDED.status END";
    let parameters = [
        (&attempt.id as _, Type::UUID),
        (&attempt.at as _, Type::TIMESTAMPTZ),
        (&status.map(i32::from) as _, Type::INT4),
        (&remote as _, Type::JSONB),
        (&attempt.receiver.channel().as_str() as _, Type::TEXT),
        (&attempt.receiver.recipient() as _, Type::TEXT),
    ];
    client.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Marks an attempt as failed.
///
/// # Errors
/// Any store error.
pub async fn mark_refused(client: &Client, attempt: &Attempt<'_>, refusal: &Refusal<'_>) -> Result<(), StoreError> {
    let sql = "
        WITH message AS (
            UPDATE public.notifications
            SET status = CASE WHEN $3::timestamptz IS NULL THEN 'failed' ELSE 'pending' END,
                next_attempt_at = coalesce($3, next_attempt_at), last_error = $4, response_status = $5,
                claimed_by = NULL, claimed_until = NULL
            WHERE id = $1 AND claimed_by = $2
        )
        UPDATE public.notification_receivers
        SET failures = CASE WHEN $6 THEN failures + 1 ELSE failures END,
            failing_since = CASE WHEN $6 THEN coalesce(failing_since, $7) ELSE failing_since END,
            last_error = $4, paused_until = greatest(paused_until, $8)
        WHERE channel = $9 AND recipient = $10";
    let paused_until = match refusal.health {
        Health::Paused { until } => Some(until),
        Health::Unaffected | Health::Failing => None,
    };
    let parameters = [
        (&attempt.id as _, Type::UUID),
        (&attempt.claimed_by as _, Type::UUID),
        (&refusal.next_attempt_at as _, Type::TIMESTAMPTZ),
        (&refusal.error as _, Type::TEXT),
        (&refusal.status.map(i32::from) as _, Type::INT4),
        (&(refusal.health != Health::Unaffected) as _, Type::BOOL),
        (&attempt.at as _, Type::TIMESTAMPTZ),
        (&paused_until as _, Type::TIMESTAMPTZ),
        (&attempt.receiver.channel().as_str() as _, Type::TEXT),
        (&attempt.receiver.recipient() as _, Type::TEXT),
    ];
    client.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Releases notifications that were claimed and not sent.
///
/// # Errors
/// Any store error.
pub async fn release(client: &Client, ids: &[Uuid], claimed_by: Uuid) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.notifications
        SET status = 'pending', attempts = attempts - 1, claimed_by = NULL, claimed_until = NULL
        WHERE id = ANY($1) AND claimed_by = $2 AND status = 'sending'";
    client.execute_typed(sql, &[(&ids, Type::UUID_ARRAY), (&claimed_by, Type::UUID)]).await?;
    Ok(())
}

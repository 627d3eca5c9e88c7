//! `event_outbox`: what has happened and is still to be told. Rows are written by the statements that make them true, and
//! are never dropped for not being told.
//!
//! Whoever tells an event claims it first, so that two who look at once share the work; a claim ends by itself.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};

/// An event that waits to be published.
#[derive(Debug, Clone)]
pub struct PendingEvent {
    /// Its id, for every consumer.
    pub id: Uuid,
    /// Its name on the bus.
    pub detail_type: String,
    /// What a consumer reads.
    pub detail: Value,
    /// How often it was offered so far.
    pub attempts: i32,
}

/// What became of an attempt to publish an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The event.
    pub id: Uuid,
    /// None = the bus took it.
    pub failure: Option<Failure>,
}

/// Why the bus did not take an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In the bus's words, or ours.
    pub error: String,
    /// When it is offered again.
    pub next_attempt_at: DateTime<Utc>,
}

/// [`claim_due`] claims at most this many.
pub const CLAIM_LIMIT: usize = 100;

/// Claims those of these events that exist, are not published, and are claimed by nobody else; oldest first.
///
/// # Errors
/// Any store error.
pub async fn claim(
    client: &Client,
    ids: &[Uuid],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<PendingEvent>, StoreError> {
    let sql = "
        WITH wanted AS (
            SELECT id
            FROM public.event_outbox
            WHERE id = ANY($3) AND published_at IS NULL AND (claimed_until IS NULL OR claimed_until <= $2)
            ORDER BY created_at, id
            LIMIT 1000
            FOR UPDATE SKIP LOCKED
        )
        UPDATE public.event_outbox AS event
        SET claimed_until = $1
        FROM wanted
        WHERE event.id = wanted.id
        RETURNING event.id, event.detail_type, event.detail, event.attempts, event.created_at";
    let parameters = [(&until as _, Type::TIMESTAMPTZ), (&now as _, Type::TIMESTAMPTZ), (&ids as _, Type::UUID_ARRAY)];
    pending_of(client.query_typed(sql, &parameters).await?)
}

/// Claims events whose time has come: never offered yet, or refused long enough ago; oldest first.
///
/// # Errors
/// Any store error.
pub async fn claim_due(
    client: &Client,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<PendingEvent>, StoreError> {
    let sql = "
        WITH due AS (
            SELECT id
            FROM public.event_outbox
            WHERE published_at IS NULL
                AND (next_attempt_at IS NULL OR next_attempt_at <= $2)
                AND (claimed_until IS NULL OR claimed_until <= $2)
            ORDER BY created_at, id
            LIMIT $3
            FOR UPDATE SKIP LOCKED
        )
        UPDATE public.event_outbox AS event
        SET claimed_until = $1
        FROM due
        WHERE event.id = due.id
        RETURNING event.id, event.detail_type, event.detail, event.attempts, event.created_at";
    let limit = i64::try_from(CLAIM_LIMIT).unwrap_or(i64::MAX);
    let parameters = [(&until as _, Type::TIMESTAMPTZ), (&now as _, Type::TIMESTAMPTZ), (&limit as _, Type::INT8)];
    pending_of(client.query_typed(sql, &parameters).await?)
}

/// In the order in which they happened: an update returns them in any.
fn pending_of(mut rows: Vec<Row>) -> Result<Vec<PendingEvent>, StoreError> {
    rows.sort_by_cached_key(|row| {
        (row.try_get::<_, DateTime<Utc>>("created_at").ok(), row.try_get::<_, Uuid>("id").ok())
    });
    rows.iter()
        .map(|row| {
            Ok(PendingEvent {
                id: column(row, "id")?,
                detail_type: column(row, "detail_type")?,
                detail: column(row, "detail")?,
                attempts: column(row, "attempts")?,
            })
        })
        .collect()
}

/// Notes what became of the attempts: published now, or one more attempt with its error. Ends their claims.
///
/// # Errors
/// Any store error.
pub async fn mark_attempted(client: &Client, attempts: &[Attempt], now: DateTime<Utc>) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.event_outbox AS event
        SET
            attempts = event.attempts + 1,
            last_error = attempt.error,
            next_attempt_at = attempt.next_attempt_at,
            claimed_until = NULL,
            published_at = CASE WHEN attempt.error IS NULL THEN $4 END
        FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS attempt (id, error, next_attempt_at)
        WHERE event.id = attempt.id AND event.published_at IS NULL";
    let ids: Vec<Uuid> = attempts.iter().map(|attempt| attempt.id).collect();
    let failures = || attempts.iter().map(|attempt| attempt.failure.as_ref());
    let errors: Vec<Option<&str>> = failures().map(|failure| Some(failure?.error.as_str())).collect();
    let next: Vec<Option<DateTime<Utc>>> = failures().map(|failure| Some(failure?.next_attempt_at)).collect();
    let parameters = [
        (&ids as _, Type::UUID_ARRAY),
        (&errors as _, Type::TEXT_ARRAY),
        (&next as _, Type::TIMESTAMPTZ_ARRAY),
        (&now as _, Type::TIMESTAMPTZ),
    ];
    client.execute_typed(sql, &parameters).await?;
    Ok(())
}

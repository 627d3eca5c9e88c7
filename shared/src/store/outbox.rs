//! `event_outbox`: what has happened and is still to be told. Rows are written by the statements that make them true.

use chrono::{DateTime, Utc};
use serde_json::Value;
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
}

/// What became of an attempt to publish an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The event.
    pub id: Uuid,
    /// Why the bus did not take it; none = it did.
    pub error: Option<String>,
}

/// Those of these events that exist and are not published, oldest first.
///
/// # Errors
/// Any store error.
pub async fn list_unpublished(client: &Client, ids: &[Uuid]) -> Result<Vec<PendingEvent>, StoreError> {
    let sql = "
        SELECT id, detail_type, detail
        FROM public.event_outbox
        WHERE id = ANY($1) AND published_at IS NULL
        ORDER BY created_at, id
        LIMIT 1000";
    client
        .query_typed(sql, &[(&ids, Type::UUID_ARRAY)])
        .await?
        .iter()
        .map(|row| {
            Ok(PendingEvent {
                id: column(row, "id")?,
                detail_type: column(row, "detail_type")?,
                detail: column(row, "detail")?,
            })
        })
        .collect()
}

/// Notes what became of the attempts: published now, or one more attempt with its error.
///
/// # Errors
/// Any store error.
pub async fn mark_attempted(client: &Client, attempts: &[Attempt], now: DateTime<Utc>) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.event_outbox AS event
        SET
            attempts = event.attempts + 1,
            last_error = attempt.error,
            published_at = CASE WHEN attempt.error IS NULL THEN $3 END
        FROM unnest($1::uuid[], $2::text[]) AS attempt (id, error)
        WHERE event.id = attempt.id AND event.published_at IS NULL";
    let ids: Vec<Uuid> = attempts.iter().map(|attempt| attempt.id).collect();
    let errors: Vec<Option<&str>> = attempts.iter().map(|attempt| attempt.error.as_deref()).collect();
    let parameters = [(&ids as _, Type::UUID_ARRAY), (&errors as _, Type::TEXT_ARRAY), (&now as _, Type::TIMESTAMPTZ)];
    client.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// [`list_waiting`] brings at most this many.
pub const WAITING_LIMIT: usize = 100;

/// The events from before this time that are not published, those that were tried least often first.
///
/// # Errors
/// Any store error.
pub async fn list_waiting(client: &Client, before: DateTime<Utc>) -> Result<Vec<Uuid>, StoreError> {
    let sql = "
        SELECT id
        FROM public.event_outbox
        WHERE published_at IS NULL AND created_at < $1
        ORDER BY attempts, created_at, id
        LIMIT $2";
    let limit = i64::try_from(WAITING_LIMIT).unwrap_or(i64::MAX);
    let rows = client.query_typed(sql, &[(&before, Type::TIMESTAMPTZ), (&limit, Type::INT8)]).await?;
    rows.iter().map(|row| column(row, "id")).collect()
}

//! `event_outbox`: events that wait to be published. An event is inserted by the statement that changes its subject, in
//! one transaction; it is never deleted before it is published.
//!
//! A publisher claims (leases) rows first, so that concurrent publishers share the work; a claim expires at its
//! deadline.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::events::{AlertSubject, IncidentSubject, PendingEvent};
use crate::model::{AlertType, Category, IncidentId, Severity};

/// The result of an attempt to publish an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The event.
    pub id: Uuid,
    /// None = it was published.
    pub failure: Option<Failure>,
}

/// A failed attempt to publish an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The bus's error, or our own.
    pub error: String,
    /// When it is retried (back-off).
    pub next_attempt_at: DateTime<Utc>,
}

/// The batch size of [`claim_due`].
pub const CLAIM_LIMIT: usize = 100;

/// Claims those of these events that are unpublished and unclaimed; oldest first.
///
/// # Errors
/// Any store error.
pub async fn claim(
    client: &Client,
    ids: &[Uuid],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<PendingEvent>, StoreError> {
    let condition = "id = ANY($3) AND published_at IS NULL AND (claimed_until IS NULL OR claimed_until <= $2)";
    let sql = claim_sql(condition, "1000");
    let parameters = [(&until as _, Type::TIMESTAMPTZ), (&now as _, Type::TIMESTAMPTZ), (&ids as _, Type::UUID_ARRAY)];
    client.query_typed(&sql, &parameters).await?.iter().map(pending_of).collect()
}

/// Claims due events: new ones, and failed ones after their back-off; oldest first.
///
/// # Errors
/// Any store error.
pub async fn claim_due(
    client: &Client,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<PendingEvent>, StoreError> {
    let condition = "published_at IS NULL
                AND (next_attempt_at IS NULL OR next_attempt_at <= $2)
                AND (claimed_until IS NULL OR claimed_until <= $2)";
    let sql = claim_sql(condition, "$3");
    let limit = i64::try_from(CLAIM_LIMIT).unwrap_or(i64::MAX);
    let parameters = [(&until as _, Type::TIMESTAMPTZ), (&now as _, Type::TIMESTAMPTZ), (&limit as _, Type::INT8)];
    client.query_typed(&sql, &parameters).await?.iter().map(pending_of).collect()
}

/// The statement that claims the rows of this condition, with their subjects.
fn claim_sql(condition: &str, limit: &str) -> String {
    format!(
        "WITH wanted AS (
            SELECT id
            FROM public.event_outbox
            WHERE {condition}
            ORDER BY created_at, id
            LIMIT {limit}
            FOR UPDATE SKIP LOCKED
        ),
        claimed AS (
            UPDATE public.event_outbox AS event
            SET claimed_until = $1
            FROM wanted
            WHERE event.id = wanted.id
            RETURNING event.id, event.detail_type, event.detail, event.attempts, event.created_at
        )
        {}",
        include_str!("sql/event_subjects.sql")
    )
}

fn pending_of(row: &Row) -> Result<PendingEvent, StoreError> {
    Ok(PendingEvent {
        id: column(row, "id")?,
        detail_type: column(row, "detail_type")?,
        detail: column(row, "detail")?,
        at: column(row, "created_at")?,
        attempts: column(row, "attempts")?,
        incident: incident_of(row)?,
        alert: alert_of(row)?,
    })
}

fn incident_of(row: &Row) -> Result<Option<IncidentSubject>, StoreError> {
    let Some(incident_id) = column::<Option<String>>(row, "incident_id")? else { return Ok(None) };
    Ok(Some(IncidentSubject {
        incident_id: IncidentId::from_stored(incident_id),
        severity: word(row, "severity", Severity::parse)?,
        // Other writers' rows may have any category.
        category: Category::parse(&column::<String>(row, "category")?).unwrap_or(Category::Unknown),
        application: column(row, "application")?,
        environment: column(row, "environment")?,
        title: column(row, "title")?,
        detected_at: column(row, "detected_at")?,
    }))
}

fn alert_of(row: &Row) -> Result<Option<AlertSubject>, StoreError> {
    let Some(alert_id) = column::<Option<Uuid>>(row, "alert_id")? else { return Ok(None) };
    let alert_type = word(row, "alert_type", AlertType::parse)?;
    let environment: String = column(row, "service_environment")?;
    Ok(Some(AlertSubject {
        alert_id,
        alert_type,
        severity: alert_type.severity(&environment),
        service: column(row, "service")?,
        environment,
        message: column(row, "message")?,
        incident_id: column::<Option<String>>(row, "alert_incident_id")?.map(IncidentId::from_stored),
    }))
}

/// Records the attempts as published or as failed with their error and back-off. Releases their claims.
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

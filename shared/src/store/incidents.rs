//! Incidents as operators read them.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::{Incident, IncidentId, IncidentStatus, IncidentSummary, Severity};

/// Which incidents; `None` = any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Where they stand.
    pub status: Option<IncidentStatus>,
    /// How bad they are.
    pub severity: Option<Severity>,
    /// Which part of a system.
    pub category: Option<String>,
    /// Which application.
    pub application: Option<String>,
    /// Where it runs.
    pub environment: Option<String>,
}

/// The place of an incident in the list: newest first, the row's id where two began together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When it began.
    pub detected_at: DateTime<Utc>,
    /// The row's id.
    pub id: Uuid,
}

const SUMMARY: &str = "
    id, incident_id::text AS incident_id, title::text AS title, status::text AS status, severity::text AS severity,
    category::text AS category, application::text AS application, environment, error_type::text AS error_type,
    endpoint::text AS endpoint, occurrences, detected_at, last_seen_at,
    resolved_at, extract(epoch FROM time_to_resolution)::double precision AS time_to_resolution_seconds";

/// Incidents that pass the filter, newest first, from just after `after` on; at most `limit`.
///
/// # Errors
/// Any store error.
pub async fn list(
    client: &Client,
    filter: &Filter,
    after: Option<Position>,
    limit: u16,
) -> Result<Vec<IncidentSummary>, StoreError> {
    let sql = format!(
        "SELECT {SUMMARY}
        FROM public.incidents
        WHERE ($1::text IS NULL OR status = $1)
            AND ($2::text IS NULL OR severity = $2)
            AND ($3::text IS NULL OR category = $3)
            AND ($4::text IS NULL OR application = $4)
            AND ($5::text IS NULL OR environment = $5)
            AND ($6::timestamptz IS NULL OR (detected_at, id) < ($6, $7))
        ORDER BY detected_at DESC, id DESC
        LIMIT $8"
    );
    let rows = client
        .query_typed(
            &sql,
            &[
                (&filter.status.map(IncidentStatus::as_str), Type::TEXT),
                (&filter.severity.map(Severity::as_str), Type::TEXT),
                (&filter.category, Type::TEXT),
                (&filter.application, Type::TEXT),
                (&filter.environment, Type::TEXT),
                (&after.map(|position| position.detected_at), Type::TIMESTAMPTZ),
                (&after.map(|position| position.id), Type::UUID),
                (&i64::from(limit), Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(summary_of).collect()
}

/// The incident of this id, if there is one.
///
/// # Errors
/// Any store error.
pub async fn find(client: &Client, id: &IncidentId) -> Result<Option<Incident>, StoreError> {
    let sql =
        format!("SELECT {SUMMARY}, error_message, stack_trace, context FROM public.incidents WHERE incident_id = $1");
    let rows = client.query_typed(&sql, &[(&id.as_str(), Type::TEXT)]).await?;
    rows.first().map(incident_of).transpose()
}

fn summary_of(row: &Row) -> Result<IncidentSummary, StoreError> {
    Ok(IncidentSummary {
        id: column(row, "id")?,
        incident_id: IncidentId::from_stored(column(row, "incident_id")?),
        title: column(row, "title")?,
        status: word(row, "status", IncidentStatus::parse)?,
        severity: word(row, "severity", Severity::parse)?,
        category: column(row, "category")?,
        application: column(row, "application")?,
        environment: column(row, "environment")?,
        error_type: column(row, "error_type")?,
        endpoint: column(row, "endpoint")?,
        occurrences: column(row, "occurrences")?,
        detected_at: column(row, "detected_at")?,
        last_seen_at: column(row, "last_seen_at")?,
        resolved_at: column(row, "resolved_at")?,
        time_to_resolution_seconds: column(row, "time_to_resolution_seconds")?,
    })
}

fn incident_of(row: &Row) -> Result<Incident, StoreError> {
    Ok(Incident {
        summary: summary_of(row)?,
        error_message: column(row, "error_message")?,
        stack_trace: column(row, "stack_trace")?,
        context: column(row, "context")?,
    })
}

//! Lists and details of incidents, for operators.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::paging::Position;
use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::{Incident, IncidentId, IncidentStatus, IncidentSummary, Severity};

/// A filter of incidents; `None` = any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The status.
    pub status: Option<IncidentStatus>,
    /// The severity.
    pub severity: Option<Severity>,
    /// The category.
    pub category: Option<String>,
    /// The application.
    pub application: Option<String>,
    /// The environment.
    pub environment: Option<String>,
}

/// An incident of a list, with its position.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The incident.
    #[serde(flatten)]
    pub summary: IncidentSummary,
    /// Its position: by its newest report or step while it is open, by its end when it is resolved.
    #[serde(skip)]
    pub position: Position,
}

const SUMMARY: &str = "
    id, incident_id::text AS incident_id, title::text AS title, status::text AS status, severity::text AS severity,
    category::text AS category, application::text AS application, environment, error_type::text AS error_type,
    endpoint::text AS endpoint, incidents.occurrences + coalesce(unfolded.occurrences, 0) AS occurrences,
    user_count + coalesce(unfolded.new_users, 0) AS user_count, first_release::text AS first_release,
    coalesce(unfolded.release, last_release)::text AS last_release, detected_at,
    greatest(last_seen_at, unfolded.seen_at) AS last_seen_at, reopened_at, reopen_count,
    handled_by::text AS handled_by, resolved_at, extract(epoch FROM time_to_resolution)::double precision AS time_to_resolution_seconds";

/// Incidents with their unfolded occurrences.
const WHOLE: &str = "
    public.incidents
    LEFT JOIN LATERAL (
        SELECT
            sum(waiting.occurrences)::bigint AS occurrences, sum(waiting.new_users)::bigint AS new_users,
            max(waiting.last_seen_at) AS seen_at,
            (array_agg(waiting.release ORDER BY waiting.last_seen_at DESC))[1] AS release
        FROM public.incident_occurrences AS waiting
        WHERE waiting.incident = incidents.id
    ) AS unfolded ON true";

/// Bounded, because a Lambda's answer is limited to 6 MB.
const SAMPLES: &str = "
    SELECT jsonb_agg(to_jsonb(sample) ORDER BY sample.received_at DESC, sample.position)
    FROM (
        SELECT position, received_at, severity, environment, release, left(error_message, 10000) AS error_message,
            left(stack_trace, 10000) AS stack_trace, context
        FROM public.incident_samples
        WHERE incident = incidents.id
        ORDER BY received_at DESC, position
        LIMIT 20
    ) AS sample";
const TIMELINE: &str = "
    SELECT jsonb_agg(to_jsonb(entry) ORDER BY entry.timestamp DESC)
    FROM (
        SELECT timestamp, agent_id, action_type, left(action_description, 2000) AS action_description, action_success,
            action_details
        FROM public.agent_actions
        WHERE incident_id = incidents.id
        ORDER BY timestamp DESC
        LIMIT 100
    ) AS entry";

/// The filter of a list; both halves of its statement share the parameters.
const FILTER: &str = "
    ($1::text IS NULL OR status = $1)
    AND ($2::text IS NULL OR severity = $2)
    AND ($3::text IS NULL OR category = $3)
    AND ($4::text IS NULL OR application = $4)
    AND ($5::text IS NULL OR environment = $5)";

/// Incidents that match the filter, open ones first, then the newest change, after the position `after`; at most
/// `limit`. An incident that changes while a client reads the pages moves to the front.
///
/// # Errors
/// Any store error.
pub async fn list(
    client: &Client,
    filter: &Filter,
    after: Option<Position>,
    limit: u16,
) -> Result<Vec<Listed>, StoreError> {
    // Two ordered halves instead of one ORDER BY: each uses its own index, and neither index needs `updated_at`.
    let sql = format!(
        "WITH page AS (
            (
                SELECT id AS incident, true AS open, coalesce(updated_at, detected_at) AS changed_at
                FROM public.incidents
                WHERE status <> 'resolved' AND {FILTER}
                    AND ($6::bool IS NULL OR ($6 AND (coalesce(updated_at, detected_at), id) < ($7, $8)))
                ORDER BY coalesce(updated_at, detected_at) DESC, id DESC
                LIMIT $9
            )
            UNION ALL
            (
                SELECT id, false, coalesce(resolved_at, detected_at)
                FROM public.incidents
                WHERE status = 'resolved' AND {FILTER}
                    AND ($6::bool IS NULL OR $6 OR (coalesce(resolved_at, detected_at), id) < ($7, $8))
                ORDER BY coalesce(resolved_at, detected_at) DESC, id DESC
                LIMIT $9
            )
        )
        SELECT {SUMMARY}, page.open, page.changed_at
        FROM page, {WHOLE}
        WHERE page.incident = incidents.id
        ORDER BY page.open DESC, page.changed_at DESC, page.incident DESC
        LIMIT $9"
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
                (&after.map(|position| position.open), Type::BOOL),
                (&after.map(|position| position.at), Type::TIMESTAMPTZ),
                (&after.map(|position| position.id), Type::UUID),
                (&i64::from(limit), Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(listed_of).collect()
}

fn listed_of(row: &Row) -> Result<Listed, StoreError> {
    let summary = summary_of(row)?;
    let position = Position { open: column(row, "open")?, at: column(row, "changed_at")?, id: summary.id };
    Ok(Listed { summary, position })
}

/// The incident of this id, if any.
///
/// # Errors
/// Any store error.
pub async fn find(client: &Client, id: &IncidentId) -> Result<Option<Incident>, StoreError> {
    let sql = format!(
        "SELECT {SUMMARY}, error_message, stack_trace, context,
            coalesce(({SAMPLES}), '[]') AS samples, coalesce(({TIMELINE}), '[]') AS timeline
        FROM {WHOLE}
        WHERE incident_id = $1"
    );
    let rows = client.query_typed(&sql, &[(&id.as_str(), Type::TEXT)]).await?;
    rows.first().map(incident_of).transpose()
}

/// The summary of the incident of this id, if any.
///
/// # Errors
/// Any store error.
pub async fn find_summary(client: &Client, id: &IncidentId) -> Result<Option<IncidentSummary>, StoreError> {
    let sql = format!("SELECT {SUMMARY} FROM {WHOLE} WHERE incident_id = $1");
    let rows = client.query_typed(&sql, &[(&id.as_str(), Type::TEXT)]).await?;
    rows.first().map(summary_of).transpose()
}

/// The batch size of [`fold_occurrences`], in incidents.
pub const FOLD_LIMIT: u64 = 1_000;

/// Adds unfolded occurrences to their incidents (at most [`FOLD_LIMIT`] incidents at a time); returns how many
/// incidents changed.
///
/// # Errors
/// Any store error.
pub async fn fold_occurrences(client: &Client) -> Result<u64, StoreError> {
    let rows = client.query_typed(include_str!("sql/fold_occurrences.sql"), &[]).await?;
    let folded: i64 = rows.first().map_or(Ok(0), |row| column(row, "incidents"))?;
    Ok(u64::try_from(folded).unwrap_or(0))
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
        user_count: column(row, "user_count")?,
        first_release: column(row, "first_release")?,
        last_release: column(row, "last_release")?,
        detected_at: column(row, "detected_at")?,
        last_seen_at: column(row, "last_seen_at")?,
        reopened_at: column(row, "reopened_at")?,
        reopen_count: column(row, "reopen_count")?,
        handled_by: column(row, "handled_by")?,
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
        samples: column(row, "samples")?,
        timeline: column(row, "timeline")?,
    })
}

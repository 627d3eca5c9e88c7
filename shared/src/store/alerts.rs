//! `alert_events`: alerts about services. The probe writes its alerts through [`super::checks`].

use chrono::{DateTime, Duration, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::paging::Position;
use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::{Alert, AlertStatus, AlertType, IncidentId};

/// An alert to be stored.
#[derive(Debug, Clone)]
pub struct NewAlert<'a> {
    /// The service.
    pub service_name: &'a str,
    /// Where it runs.
    pub environment: &'a str,
    /// Its type.
    pub alert_type: AlertType,
    /// Its status; none = active.
    pub status: Option<AlertStatus>,
    /// One line for a person.
    pub message: Option<&'a str>,
}

const COLUMNS: &str = "id, service_name::text AS service_name, environment, alert_type, status, message, details, \
    created_at, acknowledged_at, resolved_at, \
    (SELECT its.incident_id::text FROM public.incidents AS its WHERE its.id = alert_events.incident_id) AS incident_id";

/// The longest list.
const LIMIT: i64 = 1_000;

/// Stores an alert; none if its service, environment and type already have an unresolved one.
///
/// # Errors
/// Any store error.
pub async fn insert(client: &Client, alert: &NewAlert<'_>, now: DateTime<Utc>) -> Result<Option<Alert>, StoreError> {
    let sql = format!(
        "INSERT INTO public.alert_events
            (service_name, environment, alert_type, status, message, created_at, acknowledged_at, resolved_at)
        VALUES ($1, $2, $3, $4, $5, $6, CASE $4 WHEN 'acknowledged' THEN $6 END, CASE $4 WHEN 'resolved' THEN $6 END)
        ON CONFLICT (service_name, environment, alert_type) WHERE status <> 'resolved' DO NOTHING
        RETURNING {COLUMNS}"
    );
    let rows = client
        .query_typed(
            &sql,
            &[
                (&alert.service_name, Type::TEXT),
                (&alert.environment, Type::TEXT),
                (&alert.alert_type.as_str(), Type::TEXT),
                (&alert.status.unwrap_or(AlertStatus::Active).as_str(), Type::TEXT),
                (&alert.message, Type::TEXT),
                (&now, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    rows.first().map(alert_of).transpose()
}

/// The alert of this id, if any.
///
/// # Errors
/// Any store error.
pub async fn find(client: &Client, id: Uuid) -> Result<Option<Alert>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM public.alert_events WHERE id = $1");
    let rows = client.query_typed(&sql, &[(&id, Type::UUID)]).await?;
    rows.first().map(alert_of).transpose()
}

/// Active alerts, newest first; of one service or of all.
///
/// # Errors
/// Any store error.
pub async fn list_active(client: &Client, service_name: Option<&str>) -> Result<Vec<Alert>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}
        FROM public.alert_events
        WHERE status = 'active' AND ($1::text IS NULL OR service_name = $1)
        ORDER BY created_at DESC, id DESC
        LIMIT $2"
    );
    let rows = client.query_typed(&sql, &[(&service_name, Type::TEXT), (&LIMIT, Type::INT8)]).await?;
    rows.iter().map(alert_of).collect()
}

/// A filter of alerts; `None` = any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The status.
    pub status: Option<AlertStatus>,
    /// The service.
    pub service: Option<String>,
    /// The service's environment.
    pub environment: Option<String>,
}

/// The position of an alert in [`list`], for paging.
#[must_use]
pub fn position(alert: &Alert) -> Position {
    Position { open: alert.status != AlertStatus::Resolved, at: alert.created_at, id: alert.id }
}

/// Alerts that match the filter, unresolved ones first, then the newest, after the position `after`; at most `limit`.
///
/// # Errors
/// Any store error.
pub async fn list(
    client: &Client,
    filter: &Filter,
    after: Option<Position>,
    limit: u16,
) -> Result<Vec<Alert>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}
        FROM public.alert_events
        WHERE ($1::text IS NULL OR status = $1)
            AND ($2::text IS NULL OR service_name = $2)
            AND ($3::text IS NULL OR environment = $3)
            AND ($4::bool IS NULL OR (status <> 'resolved', created_at, id) < ($4, $5, $6))
        ORDER BY (status <> 'resolved') DESC, created_at DESC, id DESC
        LIMIT $7"
    );
    let rows = client
        .query_typed(
            &sql,
            &[
                (&filter.status.map(AlertStatus::as_str), Type::TEXT),
                (&filter.service, Type::TEXT),
                (&filter.environment, Type::TEXT),
                (&after.map(|position| position.open), Type::BOOL),
                (&after.map(|position| position.at), Type::TIMESTAMPTZ),
                (&after.map(|position| position.id), Type::UUID),
                (&i64::from(limit), Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(alert_of).collect()
}

/// The newest alert of a service and type that is no older than `within`, to deduplicate alerts.
///
/// # Errors
/// Any store error.
pub async fn find_recent(
    client: &Client,
    service_name: &str,
    alert_type: AlertType,
    within: Duration,
    now: DateTime<Utc>,
) -> Result<Option<Alert>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}
        FROM public.alert_events
        WHERE service_name = $1 AND alert_type = $2 AND created_at >= $3
        ORDER BY created_at DESC, id DESC
        LIMIT 1"
    );
    let rows = client
        .query_typed(
            &sql,
            &[(&service_name, Type::TEXT), (&alert_type.as_str(), Type::TEXT), (&(now - within), Type::TIMESTAMPTZ)],
        )
        .await?;
    rows.first().map(alert_of).transpose()
}

/// Deletes resolved alerts older than this many days; returns how many.
///
/// # Errors
/// Any store error.
pub async fn delete_older_than(client: &Client, days: u16, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let sql = "
        DELETE FROM public.alert_events
        WHERE status = 'resolved' AND created_at < $2 - make_interval(hours => 24 * $1)";
    let parameters = [(&i32::from(days) as _, Type::INT4), (&now as _, Type::TIMESTAMPTZ)];
    Ok(client.execute_typed(sql, &parameters).await?)
}

fn alert_of(row: &Row) -> Result<Alert, StoreError> {
    Ok(Alert {
        id: column(row, "id")?,
        service_name: column(row, "service_name")?,
        environment: column(row, "environment")?,
        incident_id: column::<Option<String>>(row, "incident_id")?.map(IncidentId::from_stored),
        alert_type: word(row, "alert_type", AlertType::parse)?,
        status: word(row, "status", AlertStatus::parse)?,
        message: column(row, "message")?,
        details: column(row, "details")?,
        created_at: column(row, "created_at")?,
        acknowledged_at: column(row, "acknowledged_at")?,
        resolved_at: column(row, "resolved_at")?,
    })
}

/// The batch size of [`announce_due`].
pub const ANNOUNCE_LIMIT: usize = 100;

/// Announces the active alerts whose page delay has passed; returns the ids of their events.
///
/// # Errors
/// Any store error.
pub async fn announce_due(client: &Client, now: DateTime<Utc>) -> Result<Vec<Uuid>, StoreError> {
    let sql = "
        WITH due AS (
            SELECT id
            FROM public.alert_events
            WHERE announced_at IS NULL AND announce_at IS NOT NULL AND status = 'active' AND announce_at <= $1
            ORDER BY announce_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ),
        announced AS (
            UPDATE public.alert_events AS alert
            SET announced_at = $1
            FROM due
            WHERE alert.id = due.id
            RETURNING alert.id
        )
        INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
        SELECT gen_random_uuid(), 'AlertRaised', jsonb_build_object('alert_id', id), $1
        FROM announced
        RETURNING id";
    let limit = i64::try_from(ANNOUNCE_LIMIT).unwrap_or(i64::MAX);
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ), (&limit, Type::INT8)]).await?;
    rows.iter().map(|row| column(row, "id")).collect()
}

//! What notifications are about, as it is now: incidents, and alerts that belong to none.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::model::{AlertStatus, AlertType, Category, IncidentId, IncidentStatus, Labels, Severity, Subject};
use crate::store::row::{column, word};
use crate::store::{Client, StoreError};

/// A subject as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    /// The version of its row: it differs after every change.
    pub version: String,
    /// Detected, acknowledged or resolved.
    pub status: IncidentStatus,
    /// Whether it may be notified: a failed check only when an alert of it was announced.
    pub is_announced: bool,
    /// One line.
    pub title: String,
    /// What routes and silences match.
    pub labels: Labels,
    /// The parents of its service.
    pub parents: Parents,
    /// The error's own words.
    pub message: Option<String>,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it began, or was reopened.
    pub fired_at: DateTime<Utc>,
    /// When it ended.
    pub resolved_at: Option<DateTime<Utc>>,
    /// How often it was seen.
    pub occurrences: i64,
    /// How many users met it.
    pub users: i64,
    /// The person who acknowledged or resolved it.
    pub handled_by: Option<String>,
    /// The heal steps that were tried, oldest first.
    pub tried: Vec<String>,
}

/// The services that a problem's service depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parents {
    /// Those that are down, by name.
    pub down: Vec<String>,
    /// Those that are not down, by name, and since when.
    pub up: Vec<(String, DateTime<Utc>)>,
}

/// What an alert's events are about: its incident, where it has one. None: there is no such alert.
///
/// # Errors
/// Any store error.
pub async fn subject_of_alert(client: &Client, id: Uuid) -> Result<Option<Subject>, StoreError> {
    let sql = "
        SELECT incident.incident_id::text AS incident_id
        FROM public.alert_events AS alert
        LEFT JOIN public.incidents AS incident ON incident.id = alert.incident_id
        WHERE alert.id = $1";
    let rows = client.query_typed(sql, &[(&id, Type::UUID)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let incident: Option<String> = column(row, "incident_id")?;
    Ok(Some(incident.map_or(Subject::Alert(id), |id| Subject::Incident(IncidentId::from_stored(id)))))
}

/// A subject as it is now; none: there is no such incident or alert.
///
/// # Errors
/// Any store error.
pub async fn find(client: &Client, subject: &Subject) -> Result<Option<Present>, StoreError> {
    let (sql, id) = query(subject);
    let rows = client.query_typed(sql, &[(&id, Type::TEXT)]).await?;
    rows.first().map(|row| present_of(row, subject)).transpose()
}

/// As [`find`], under the lock of its group. If its row has not changed since `before`, that is returned, at a tenth of the
/// cost.
///
/// # Errors
/// Any store error.
pub async fn find_within(
    transaction: &Transaction<'_>,
    subject: &Subject,
    before: Option<&Present>,
) -> Result<Option<Present>, StoreError> {
    let (sql, id) = query(subject);
    if let Some(before) = before {
        let version = match subject {
            Subject::Incident(_) => {
                "SELECT xmin::text || ' ' || ctid::text AS version FROM public.incidents WHERE incident_id = $1"
            }
            Subject::Alert(_) => {
                "SELECT xmin::text || ' ' || ctid::text AS version FROM public.alert_events WHERE id = $1::uuid"
            }
        };
        let rows = transaction.query_typed(version, &[(&id, Type::TEXT)]).await?;
        if rows.first().map(|row| column::<&str>(row, "version")).transpose()? == Some(before.version.as_str()) {
            return Ok(Some(before.clone()));
        }
    }
    let rows = transaction.query_typed(sql, &[(&id, Type::TEXT)]).await?;
    rows.first().map(|row| present_of(row, subject)).transpose()
}

fn query(subject: &Subject) -> (&'static str, String) {
    match subject {
        Subject::Incident(id) => (
            concat!(include_str!("../sql/services_of_alerts.sql"), include_str!("../sql/find_incident_subject.sql")),
            id.as_str().to_owned(),
        ),
        Subject::Alert(id) => (
            concat!(include_str!("../sql/services_of_alerts.sql"), include_str!("../sql/find_alert_subject.sql")),
            id.to_string(),
        ),
    }
}

fn present_of(row: &Row, subject: &Subject) -> Result<Present, StoreError> {
    let environment: String = column(row, "environment")?;
    let (status, severity) = match subject {
        Subject::Incident(_) => (word(row, "status", IncidentStatus::parse)?, word(row, "severity", Severity::parse)?),
        Subject::Alert(_) => {
            // Its row does not say how bad it is.
            let severity = word(row, "alert_type", AlertType::parse)?.severity(&environment);
            (word(row, "status", AlertStatus::parse)?.into(), severity)
        }
    };
    Ok(Present {
        version: column(row, "version")?,
        status,
        is_announced: column(row, "is_announced")?,
        title: column(row, "title")?,
        labels: Labels {
            severity,
            // A row of another writer may hold any word.
            category: Category::parse(column(row, "category")?).unwrap_or(Category::Unknown),
            application: column(row, "application")?,
            environment,
            service: column(row, "service")?,
            tags: column(row, "tags")?,
        },
        parents: Parents {
            down: column(row, "parents_down")?,
            up: column::<Vec<String>>(row, "parents_up")?
                .into_iter()
                .zip(column::<Vec<DateTime<Utc>>>(row, "parents_up_since")?)
                .collect(),
        },
        message: column(row, "message")?,
        since: column(row, "since")?,
        fired_at: column(row, "fired_at")?,
        resolved_at: column(row, "resolved_at")?,
        occurrences: column(row, "occurrences")?,
        users: column(row, "users")?,
        handled_by: column(row, "handled_by")?,
        tried: column::<Value>(row, "tried")?
            .as_array()
            .map(|tried| tried.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default(),
    })
}

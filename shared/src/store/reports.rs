//! Reports become incidents: the write of the error journey.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::classify::Classification;
use crate::config::Statements;
use crate::fingerprint::Fingerprint;
use crate::model::{Category, Counting, IncidentId, Report, Severity};

/// Reports that one statement takes.
pub const MAX_BATCH: usize = 100;

/// A report with everything that was decided about it.
#[derive(Debug, Clone)]
pub struct ClassifiedReport {
    /// What was received.
    pub report: Report,
    /// What was decided.
    pub classification: Classification,
    /// Which incident it belongs to.
    pub fingerprint: Fingerprint,
    /// The id of the incident that it opens, if it opens one.
    pub incident_id: IncidentId,
    /// The id of its audit row, if it has one.
    pub action_id: Uuid,
    /// The id of its event, if it opens or reopens an incident.
    pub event_id: Uuid,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The incident that counts it.
    pub incident_id: IncidentId,
    /// Whether it opened that incident.
    pub created: bool,
    /// How bad the report was found to be.
    pub severity: Severity,
    /// Which part of the system it was found to belong to.
    pub category: Category,
}

/// What became of one delivery.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The delivery's key.
    pub delivery_key: String,
    /// Its answer: that of the first time, if it had been delivered before. None = the incident is gone since.
    pub receipt: Option<Receipt>,
    /// Whether it had been delivered before, and so counted nothing now.
    pub known: bool,
    /// What was delivered the first time: [`Report::content_hash`].
    pub content_hash: Option<String>,
    /// The event that waits in the outbox, if there is one.
    pub event: Option<Uuid>,
}

/// Writes up to 100 reports: one statement, one round trip, one commit (see the function in `migrations/`). A delivery
/// that was known counts nothing. A repetition of an incident that was resolved less than `reopen_within` ago opens it
/// again. A report of an application's DSN is bounded by that application's row. One row for each delivery key, in no order.
///
/// # Errors
/// Any store error; nothing is written then.
pub async fn record(
    client: &Client,
    reports: &[ClassifiedReport],
    reopen_within: Duration,
    statements: Statements,
) -> Result<Vec<Recorded>, StoreError> {
    let sql = "
        SELECT delivery_key, known, content_hash, incident_id, created, severity, category, event_id
        FROM public.record_reports($1, $2)";
    let rows: Vec<Row<'_>> = reports.iter().map(Row::of).collect();
    let (rows, reopen_within) = (Json(rows), reopen_within.as_secs_f64());
    let answer = match statements {
        Statements::Unnamed => client.query_typed(sql, &[(&rows, Type::JSONB), (&reopen_within, Type::FLOAT8)]).await,
        Statements::Prepared => {
            let statement = client.prepare_typed_cached(sql, &[Type::JSONB, Type::FLOAT8]).await?;
            let answer = client.query(&statement, &[&rows, &reopen_within]).await;
            if answer.is_err() {
                // Should a migration have changed the function under it, the next one is prepared anew.
                client.statement_cache.clear();
            }
            answer
        }
    };
    answer?.iter().map(recorded).collect()
}

fn recorded(row: &tokio_postgres::Row) -> Result<Recorded, StoreError> {
    let incident_id: Option<String> = column(row, "incident_id")?;
    let receipt = incident_id
        .map(|incident_id| {
            Ok::<_, StoreError>(Receipt {
                incident_id: IncidentId::from_stored(incident_id),
                created: column(row, "created")?,
                severity: word(row, "severity", Severity::parse)?,
                category: word(row, "category", Category::parse)?,
            })
        })
        .transpose()?;
    Ok(Recorded {
        delivery_key: column(row, "delivery_key")?,
        receipt,
        known: column(row, "known")?,
        content_hash: column(row, "content_hash")?,
        event: column(row, "event_id")?,
    })
}

/// Forgets deliveries whose incident is gone, which is where their answer stood.
///
/// # Errors
/// Any store error.
pub async fn delete_forgotten(client: &Client, keys: &[String]) -> Result<(), StoreError> {
    let sql = "
        DELETE FROM public.inbound_deliveries AS delivery
        WHERE delivery_key = ANY($1)
            AND NOT EXISTS (SELECT FROM public.incidents AS incident WHERE incident.id = delivery.incident)
            AND NOT EXISTS (
                SELECT FROM public.agent_actions AS action
                JOIN public.incidents AS incident ON incident.id = action.incident_id
                WHERE action.id = delivery.action_id
            )";
    client.execute_typed(sql, &[(&keys, Type::TEXT_ARRAY)]).await?;
    Ok(())
}

/// The audit's sentence holds this much of a message: the whole stands in the incident.
const DESCRIPTION_CHARS: usize = 1_000;

/// One report as the function reads it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    delivery_key: &'a str,
    content_hash: String,
    source: &'a str,
    project: Option<i64>,
    received_at: String,
    action_id: Uuid,
    incident_id: &'a str,
    title: &'a str,
    severity: Severity,
    category: Category,
    application: &'a str,
    environment: &'a str,
    fingerprint: &'a str,
    message: &'a str,
    error_type: Option<&'a str>,
    stack: Option<&'a str>,
    endpoint: Option<&'a str>,
    release: Option<&'a str>,
    user: Option<&'a str>,
    context: &'a Map<String, Value>,
    action_description: String,
    event_id: Uuid,
    /// The function adds the incident to it.
    event_detail: Map<String, Value>,
    announces: bool,
}

impl<'a> Row<'a> {
    fn of(classified: &'a ClassifiedReport) -> Self {
        let ClassifiedReport { report, classification, fingerprint, incident_id, action_id, event_id } = classified;
        Self {
            delivery_key: report.delivery_key.as_str(),
            content_hash: report.content_hash(),
            source: &report.source,
            project: report.project,
            received_at: report.received_at.to_rfc3339(),
            action_id: *action_id,
            incident_id: incident_id.as_str(),
            title: report.title(),
            severity: classification.severity,
            category: classification.category,
            application: &report.application,
            environment: &report.environment,
            fingerprint: fingerprint.as_str(),
            message: &report.message,
            error_type: report.error_type.as_deref(),
            stack: report.stack.as_deref(),
            endpoint: report.endpoint.as_deref(),
            release: report.release.as_deref(),
            user: report.user.as_ref().map(crate::model::UserKey::as_str),
            context: &report.context,
            action_description: description(report),
            event_id: *event_id,
            event_detail: Map::new(),
            announces: report.counting == Counting::Announcement,
        }
    }
}

fn description(report: &Report) -> String {
    let message = crate::model::text::first_chars(&report.message, DESCRIPTION_CHARS);
    format!("Error detected from {}: {message}", report.source)
}

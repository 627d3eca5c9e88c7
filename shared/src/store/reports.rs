//! Writes reports as incidents, in one idempotent statement.

use std::sync::Arc;
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

/// The most reports in one statement.
pub const MAX_BATCH: usize = 100;

/// A report with its classification and ids. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClassifiedReport {
    /// The report.
    pub report: Arc<Report>,
    /// Its severity and category.
    pub classification: Classification,
    /// The fingerprint of its incident.
    pub fingerprint: Fingerprint,
    /// The id of the incident, if it opens one.
    pub incident_id: IncidentId,
    /// The id of its audit row, if it has one.
    pub action_id: Uuid,
    /// The id of its event, if it opens or reopens an incident.
    pub event_id: Uuid,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The incident that counts it.
    pub incident_id: IncidentId,
    /// Whether it opened that incident.
    pub created: bool,
    /// The report's severity.
    pub severity: Severity,
    /// The report's category.
    pub category: Category,
}

/// The result of one delivery.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The delivery's key.
    pub delivery_key: String,
    /// Its answer; for a repeated delivery the first answer. None = the incident has been deleted since.
    pub receipt: Option<Receipt>,
    /// Whether it is a duplicate, which counts nothing.
    pub known: bool,
    /// [`Report::content_hash`] of the first delivery.
    pub content_hash: Option<String>,
    /// The new event in the outbox, if any.
    pub event: Option<Uuid>,
}

/// Writes up to 100 reports: one statement, one round trip, one commit (the function `record_reports`, as
/// `migrations/20261130010000_bound_public_dsns.sql` defines it). Idempotent:
/// a known delivery counts nothing. A report of an incident that was resolved less than `reopen_within` ago reopens it.
/// An application's row bounds the severity of the reports of its DSN. Returns one row for each delivery key,
/// unordered.
///
/// # Errors
/// Any store error; then nothing is written.
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
                // A migration may have changed the function: prepare again next time.
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

/// Deletes deliveries whose incident has been deleted: their answer is lost.
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

/// The longest part of a message in the audit log; the incident has all of it.
const DESCRIPTION_CHARS: usize = 1_000;

/// One report as the function's input.
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

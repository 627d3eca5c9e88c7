//! Reports become incidents: the write of the error journey.

use chrono::{DateTime, Utc};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::classify::Classification;
use crate::events::OutboxEvent;
use crate::fingerprint::Fingerprint;
use crate::model::{Category, Counting, DeliveryKey, IncidentId, Report, Severity};

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
    /// The id of its audit row.
    pub action_id: Uuid,
    /// The event to announce, if it opens an incident.
    pub opened: OutboxEvent,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The delivery that it answers.
    pub delivery_key: DeliveryKey,
    /// The incident that counts it.
    pub incident_id: IncidentId,
    /// Whether it opened that incident.
    pub created: bool,
    /// How bad the report was found to be.
    pub severity: Severity,
    /// Which part of the system it was found to belong to.
    pub category: Category,
}

/// What became of a report that had been delivered before.
#[derive(Debug, Clone)]
pub struct EarlierReceipt {
    /// The answer of the first time.
    pub receipt: Receipt,
    /// What was delivered then: [`Report::content_hash`].
    pub content_hash: Option<String>,
}

/// Writes up to 100 reports: one statement, one round trip, one commit. The receipts are those of the reports that
/// had not been delivered before, in no order.
///
/// # Errors
/// Any store error; nothing is written then.
pub async fn insert(client: &Client, reports: &[ClassifiedReport]) -> Result<Vec<Receipt>, StoreError> {
    let columns = Columns::of(reports);
    let rows = client.query_typed(include_str!("sql/record_reports.sql"), &columns.parameters()).await?;
    rows.iter()
        .map(|row| {
            let key: &str = column(row, "delivery_key")?;
            let delivered = reports.iter().find(|report| report.report.delivery_key.as_str() == key);
            Ok(Receipt {
                delivery_key: delivered
                    .map(|report| report.report.delivery_key.clone())
                    .ok_or_else(|| StoreError::Internal("a receipt for a delivery that was not sent".into()))?,
                incident_id: IncidentId::from_stored(column(row, "incident_id")?),
                created: column(row, "created")?,
                severity: word(row, "severity", Severity::parse)?,
                category: word(row, "category", Category::parse)?,
            })
        })
        .collect()
}

/// The answer that a delivery got the first time, if it has been delivered.
///
/// # Errors
/// Any store error.
pub async fn find_earlier(client: &Client, key: &DeliveryKey) -> Result<Option<EarlierReceipt>, StoreError> {
    let sql = "
        SELECT delivery.content_hash, incident.incident_id::text AS incident_id,
            coalesce((action.action_details ->> 'created')::boolean, false) AS created,
            coalesce(action.action_details ->> 'severity', incident.severity::text) AS severity,
            coalesce(action.action_details ->> 'category', incident.category::text) AS category
        FROM public.inbound_deliveries AS delivery
        JOIN public.agent_actions AS action ON action.id = delivery.action_id
        JOIN public.incidents AS incident ON incident.id = action.incident_id
        WHERE delivery.delivery_key = $1";
    let rows = client.query_typed(sql, &[(&key.as_str(), Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(EarlierReceipt {
        content_hash: column(row, "content_hash")?,
        receipt: Receipt {
            delivery_key: key.clone(),
            incident_id: IncidentId::from_stored(column(row, "incident_id")?),
            created: column(row, "created")?,
            severity: word(row, "severity", Severity::parse)?,
            category: word(row, "category", Category::parse)?,
        },
    }))
}

/// Forgets a delivery whose audit row is gone, which is where its answer stood.
///
/// # Errors
/// Any store error.
pub async fn delete_forgotten(client: &Client, key: &DeliveryKey) -> Result<(), StoreError> {
    let sql = "
        DELETE FROM public.inbound_deliveries AS delivery
        WHERE delivery_key = $1
            AND NOT EXISTS (SELECT FROM public.agent_actions AS action WHERE action.id = delivery.action_id)";
    client.execute_typed(sql, &[(&key.as_str(), Type::TEXT)]).await?;
    Ok(())
}

/// The audit's sentence holds this much of a message: the whole stands in the incident.
const DESCRIPTION_CHARS: usize = 1_000;

/// The reports turned on their side: one array per column of the statement's `unnest`.
struct Columns<'a> {
    delivery_key: Vec<&'a str>,
    content_hash: Vec<String>,
    source: Vec<&'a str>,
    received_at: Vec<DateTime<Utc>>,
    action_id: Vec<Uuid>,
    incident_id: Vec<&'a str>,
    title: Vec<&'a str>,
    severity: Vec<&'a str>,
    category: Vec<&'a str>,
    application: Vec<&'a str>,
    environment: Vec<&'a str>,
    fingerprint: Vec<&'a str>,
    error_message: Vec<&'a str>,
    error_type: Vec<Option<&'a str>>,
    stack_trace: Vec<Option<&'a str>>,
    endpoint: Vec<Option<&'a str>>,
    context: Vec<String>,
    action_description: Vec<String>,
    event_id: Vec<Uuid>,
    event_detail: Vec<String>,
    announces: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(reports: &'a [ClassifiedReport]) -> Self {
        fn each<'a, T>(reports: &'a [ClassifiedReport], pick: impl Fn(&'a ClassifiedReport) -> T) -> Vec<T> {
            reports.iter().map(pick).collect()
        }
        Self {
            delivery_key: each(reports, |it| it.report.delivery_key.as_str()),
            content_hash: each(reports, |it| it.report.content_hash()),
            source: each(reports, |it| it.report.source.as_str()),
            received_at: each(reports, |it| it.report.received_at),
            action_id: each(reports, |it| it.action_id),
            incident_id: each(reports, |it| it.incident_id.as_str()),
            title: each(reports, |it| it.report.title()),
            severity: each(reports, |it| it.classification.severity.as_str()),
            category: each(reports, |it| it.classification.category.as_str()),
            application: each(reports, |it| it.report.application.as_str()),
            environment: each(reports, |it| it.report.environment.as_str()),
            fingerprint: each(reports, |it| it.fingerprint.as_str()),
            error_message: each(reports, |it| it.report.message.as_str()),
            error_type: each(reports, |it| it.report.error_type.as_deref()),
            stack_trace: each(reports, |it| it.report.stack.as_deref()),
            endpoint: each(reports, |it| it.report.endpoint.as_deref()),
            context: each(reports, |it| serde_json::Value::Object(it.report.context.clone()).to_string()),
            action_description: each(reports, description),
            event_id: each(reports, |it| it.opened.id),
            event_detail: each(reports, |it| it.opened.detail.to_string()),
            announces: each(reports, |it| it.report.counting == Counting::Announcement),
        }
    }

    /// In the order of the statement's parameters.
    fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 21] {
        let text = || Type::TEXT_ARRAY;
        [
            (&self.delivery_key, text()),
            (&self.content_hash, text()),
            (&self.source, text()),
            (&self.received_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.action_id, Type::UUID_ARRAY),
            (&self.incident_id, text()),
            (&self.title, text()),
            (&self.severity, text()),
            (&self.category, text()),
            (&self.application, text()),
            (&self.environment, text()),
            (&self.fingerprint, text()),
            (&self.error_message, text()),
            (&self.error_type, text()),
            (&self.stack_trace, text()),
            (&self.endpoint, text()),
            (&self.context, text()),
            (&self.action_description, text()),
            (&self.event_id, Type::UUID_ARRAY),
            (&self.event_detail, text()),
            (&self.announces, Type::BOOL_ARRAY),
        ]
    }
}

fn description(classified: &ClassifiedReport) -> String {
    let report = &classified.report;
    let message = crate::model::text::first_chars(&report.message, DESCRIPTION_CHARS);
    format!("Error detected from {}: {message}", report.source)
}

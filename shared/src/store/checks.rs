//! Writes the results of a probe round, with the incidents, alerts and events that follow from them, in one statement.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::probing::{Breaker, Votes};
use super::row::{column, word};
use super::{Client, StoreError};
use crate::events::ServiceStateChanged;
use crate::fingerprint::Fingerprint;
use crate::model::{CheckId, FailureReason, IncidentId, Kind, ServiceState, Severity, Standing, Verdict};

/// A check's result with every decision about it. Serialised, it is one record of the statement's input.
#[derive(Debug, Clone, Serialize)]
pub struct CheckRecord {
    /// The service.
    pub service_id: Uuid,
    /// The claim under which it was checked.
    pub claim: Uuid,
    /// The revision of the service that the decisions are based on: optimistic locking.
    pub revision: i64,
    /// The id of its rows, ordered by time.
    pub row_id: Uuid,
    /// Unique per service, region and slot: the idempotency key.
    pub check_id: CheckId,
    /// The check's result: `healthy`, `degraded` or `down`.
    pub verdict: &'static str,
    /// The counter of the roll-ups: as `verdict`, or `maintenance`; none = not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_as: Option<&'static str>,
    /// The target without secrets, at most 255 characters.
    pub target: String,
    /// The HTTP status, if there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The duration of the deciding attempt.
    pub response_time_ms: u32,
    /// The latency bucket, from 1; none = there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_bucket: Option<usize>,
    /// Why it failed, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it failed, for a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<FailureReason>,
    /// When it was checked.
    pub checked_at: DateTime<Utc>,
    /// The fingerprint of a failure's incident.
    pub fingerprint: Fingerprint,
    /// Further details of the check.
    pub details: Value,
    /// The newest vote of each region; none = unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub votes: Option<Votes>,
    /// When the certificate expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// Measurements for the next check to compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measurements: Option<Value>,
    /// The service's new standing; none = this check decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingRecord>,
    /// The incident and alert that a failure opens or continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureRecord>,
    /// Resolves the incident and the down alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRecord>,
    /// The degraded alert to raise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<AlertRecord>,
    /// Whether the degraded alert is resolved.
    pub degraded_resolved: bool,
    /// The certificate alert to raise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<AlertRecord>,
    /// Whether the certificate alert is resolved.
    pub renewed: bool,
    /// The new state of its circuit breaker; none = unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// The event of a state change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_changed: Option<ServiceStateChanged>,
}

/// A service's standing after a check.
#[derive(Debug, Clone, Serialize)]
pub struct StandingRecord {
    /// The new standing.
    #[serde(flatten)]
    pub after: Standing,
    /// The start of the decided slot; none = an unscheduled check.
    pub decided_slot: Option<i64>,
    /// Why its alerts are suppressed while it fails.
    pub held_by: Option<String>,
}

/// The incident and alert of a failure: opened, or continued if already open.
#[derive(Debug, Clone, Serialize)]
pub struct FailureRecord {
    /// The id of the incident, if it is opened.
    pub incident_id: IncidentId,
    /// Its title.
    pub title: String,
    /// Its message, also the audit's.
    pub message: String,
    /// Its severity.
    pub severity: Severity,
    /// When the first check failed.
    pub began_at: DateTime<Utc>,
    /// Its context.
    pub context: Value,
    /// The alert, raised if none is active.
    pub alert: AlertRecord,
}

/// An alert, raised if none of its kind is active.
#[derive(Debug, Clone, Serialize)]
pub struct AlertRecord {
    /// Its id.
    pub id: Uuid,
    /// Its message.
    pub message: String,
    /// When it is announced.
    pub announce_at: DateTime<Utc>,
}

/// The recovery of a service.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveryRecord {
    /// The id of the recovery's own alert row.
    pub alert_id: Uuid,
    /// Its message.
    pub message: String,
}

/// The result of a batch.
#[derive(Debug, Clone, Default)]
pub struct StoredChecks {
    /// One for each stored result.
    pub receipts: Vec<CheckReceipt>,
    /// The ids of the new events in the outbox.
    pub events: Vec<Uuid>,
}

/// The receipt of a stored result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReceipt {
    /// The check.
    pub check_id: String,
    /// The open incident, while the service is down.
    pub incident_id: Option<IncidentId>,
    /// Whether this check opened it.
    pub incident_created: bool,
}

/// Writes the results of one run in one statement. Idempotent: a result is skipped, without a receipt, if its claim has
/// expired, its check is already stored, or its service's revision has changed (a conflict). Each service at most once.
///
/// # Errors
/// Any store error; then nothing is written.
pub async fn insert(
    client: &Client,
    records: &[CheckRecord],
    region: &str,
    tick: DateTime<Utc>,
) -> Result<StoredChecks, StoreError> {
    let rows = client
        .query_typed(
            include_str!("sql/record_checks.sql"),
            &[(&Json(records), Type::JSONB), (&region, Type::TEXT), (&tick, Type::TIMESTAMPTZ)],
        )
        .await?;
    // Every row carries all events.
    let events = rows.first().map_or_else(|| Ok(Vec::new()), |row| column(row, "events"))?;
    let receipts = rows.iter().map(receipt_of).collect::<Result<_, _>>()?;
    Ok(StoredChecks { receipts, events })
}

fn receipt_of(row: &Row) -> Result<CheckReceipt, StoreError> {
    Ok(CheckReceipt {
        check_id: column(row, "check_id")?,
        incident_id: column::<Option<String>>(row, "incident_id")?.map(IncidentId::from_stored),
        incident_created: column(row, "incident_created")?,
    })
}

/// The newest check of a service.
#[derive(Debug, Clone)]
pub struct NewestCheck {
    /// The service.
    pub service: String,
    /// Where it runs.
    pub environment: String,
    /// The kind of check.
    pub kind: Kind,
    /// The check's verdict.
    pub verdict: Verdict,
    /// The service's state.
    pub state: ServiceState,
    /// The HTTP status.
    pub http_status: Option<i32>,
    /// Its latency.
    pub latency_ms: Option<i32>,
    /// Why it failed or is degraded, for a machine.
    pub reason: Option<FailureReason>,
    /// Why, for a person.
    pub error: Option<String>,
    /// Its open incident.
    pub incident_id: Option<IncidentId>,
    /// Why its alerts are suppressed while it fails.
    pub held_by: Option<String>,
}

/// The newest check of each enabled service that was checked at `since` or later, by environment and name; at most
/// 10,000.
///
/// # Errors
/// Any store error.
pub async fn list_newest(client: &Client, since: DateTime<Utc>) -> Result<Vec<NewestCheck>, StoreError> {
    let rows = client.query_typed(include_str!("sql/newest_checks.sql"), &[(&since, Type::TIMESTAMPTZ)]).await?;
    rows.iter().map(newest_of).collect()
}

fn newest_of(row: &Row) -> Result<NewestCheck, StoreError> {
    let reason: Option<String> = column(row, "reason")?;
    Ok(NewestCheck {
        service: column(row, "service")?,
        environment: column(row, "environment")?,
        kind: word(row, "kind", Kind::parse)?,
        verdict: word(row, "verdict", Verdict::from_status)?,
        state: word(row, "state", ServiceState::parse)?,
        http_status: column(row, "http_status")?,
        latency_ms: column(row, "latency_ms")?,
        // An unknown reason of a newer version must not hide the check.
        reason: reason.and_then(|word| serde_json::from_value(Value::String(word)).ok()),
        error: column(row, "error_message")?,
        incident_id: column::<Option<String>>(row, "incident_id")?.map(IncidentId::from_stored),
        held_by: column(row, "held_by")?,
    })
}

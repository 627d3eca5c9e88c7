//! The results of a probe round: the write of the failed check's journey.

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

/// One check's result with all that was decided about it. Serialised, it is one record of the statement's input.
#[derive(Debug, Clone, Serialize)]
pub struct CheckRecord {
    /// Which service.
    pub service_id: Uuid,
    /// The claim under which it was checked.
    pub claim: Uuid,
    /// The revision of the service that this was decided upon.
    pub revision: i64,
    /// The id of its rows: in the order of time.
    pub row_id: Uuid,
    /// Unique per service, region and slot.
    pub check_id: CheckId,
    /// `healthy`, `degraded` or `down`: what this check found.
    pub verdict: &'static str,
    /// What it counts as in the roll-ups: as `verdict`, or `maintenance`; none = it counts nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_as: Option<&'static str>,
    /// What was checked, with no secret in it, at most 255 characters.
    pub target: String,
    /// What it answered, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// How long the deciding attempt took.
    pub response_time_ms: u32,
    /// Which bucket of the latencies it is, from 1; none = there was no answer.
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
    /// Which incident a failure belongs to.
    pub fingerprint: Fingerprint,
    /// More about the check.
    pub details: Value,
    /// What each region says now; none = unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub votes: Option<Votes>,
    /// When the certificate that was seen ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// What was measured, for the next check to compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measurements: Option<Value>,
    /// What the service is now; none = this check decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingRecord>,
    /// What a failure opens or continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureRecord>,
    /// What a recovery ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRecord>,
    /// The alert that it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwell: Option<AlertRecord>,
    /// The end of that.
    pub well: bool,
    /// The alert that its certificate ends soon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<AlertRecord>,
    /// The end of that.
    pub renewed: bool,
    /// Its circuit breaker from now on; none = unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// The event, if the state changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_changed: Option<ServiceStateChanged>,
}

/// What a service is after a check.
#[derive(Debug, Clone, Serialize)]
pub struct StandingRecord {
    /// What is known of it now.
    #[serde(flatten)]
    pub after: Standing,
    /// The slot that was decided, by its start; none = the check was out of turn.
    pub decided_slot: Option<i64>,
    /// Why nobody is told while it fails.
    pub held_by: Option<String>,
}

/// What a failure opens, or continues where it is open already.
#[derive(Debug, Clone, Serialize)]
pub struct FailureRecord {
    /// The id of the incident, if this opens it.
    pub incident_id: IncidentId,
    /// Its title.
    pub title: String,
    /// Its message, also the audit's.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
    /// The first failed check.
    pub began_at: DateTime<Utc>,
    /// Its context.
    pub context: Value,
    /// The alert, if this raises it.
    pub alert: AlertRecord,
}

/// An alert, if it is not active already.
#[derive(Debug, Clone, Serialize)]
pub struct AlertRecord {
    /// Its id.
    pub id: Uuid,
    /// What it says.
    pub message: String,
    /// When it is told.
    pub announce_at: DateTime<Utc>,
}

/// What a recovery ends.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveryRecord {
    /// The id of the recovery's own alert row.
    pub alert_id: Uuid,
    /// What that row says.
    pub message: String,
}

/// What was stored of a batch.
#[derive(Debug, Clone, Default)]
pub struct StoredChecks {
    /// One for each result that was stored, or was known.
    pub receipts: Vec<CheckReceipt>,
    /// The ids of the events that wait in the outbox.
    pub events: Vec<Uuid>,
}

/// What became of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReceipt {
    /// The check.
    pub check_id: String,
    /// The open incident, while the service is down.
    pub incident_id: Option<IncidentId>,
    /// Whether this check opened it.
    pub incident_created: bool,
}

/// Writes the results of one run: one statement. A result whose claim has ended, whose check is stored already, or whose
/// service has changed since it was decided upon, is left out of the receipts. No service may be in it twice.
///
/// # Errors
/// Any store error; nothing is written then.
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
    // Each row has all the events.
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

/// What the newest check of a service found.
#[derive(Debug, Clone)]
pub struct NewestCheck {
    /// The service.
    pub service: String,
    /// Where it runs.
    pub environment: String,
    /// What kind of check it is.
    pub kind: Kind,
    /// What the check found.
    pub verdict: Verdict,
    /// What the service is since.
    pub state: ServiceState,
    /// What it answered.
    pub http_status: Option<i32>,
    /// How long that took.
    pub latency_ms: Option<i32>,
    /// Why it failed or is degraded, for a machine.
    pub reason: Option<FailureReason>,
    /// The same for a person.
    pub error: Option<String>,
    /// Its open incident.
    pub incident_id: Option<IncidentId>,
    /// Why nobody is told while it fails.
    pub held_by: Option<String>,
}

/// The newest check of each enabled service that was checked at `since` or later, by environment and name; at most 10,000.
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
        // A word of a newer version is no reason to hide the check.
        reason: reason.and_then(|word| serde_json::from_value(Value::String(word)).ok()),
        error: column(row, "error_message")?,
        incident_id: column::<Option<String>>(row, "incident_id")?.map(IncidentId::from_stored),
        held_by: column(row, "held_by")?,
    })
}

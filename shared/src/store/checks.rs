//! The results of a probe round: the write of the failed check's journey.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};
use crate::events::OutboxEvent;
use crate::fingerprint::Fingerprint;
use crate::model::{CheckId, FailureReason, IncidentId, ServiceState, Severity};

/// One check's result with all that was decided about it. Serialised, it is one record of the statement's input.
#[derive(Debug, Clone, Serialize)]
pub struct CheckRecord {
    /// Which service.
    pub service_id: Uuid,
    /// Unique per service, region and instant.
    pub check_id: CheckId,
    /// Whether it answered as expected.
    pub passed: bool,
    /// What it answered, if anything.
    pub http_status: Option<u16>,
    /// How long the deciding attempt took.
    pub response_time_ms: u32,
    /// Why it failed, for a person.
    pub error: Option<String>,
    /// Why it failed, for a machine.
    pub error_code: Option<FailureReason>,
    /// What the service is now.
    pub state: ServiceState,
    /// Failed checks in a row, this one included.
    pub consecutive_failures: u32,
    /// Passed checks in a row, this one included.
    pub consecutive_successes: u32,
    /// When it was checked.
    pub checked_at: DateTime<Utc>,
    /// Which incident a failure belongs to.
    pub fingerprint: Fingerprint,
    /// More about the check.
    pub details: Value,
    /// What a failure opens or continues.
    pub failure: Option<FailureRecord>,
    /// What a recovery ends.
    pub recovery: Option<RecoveryRecord>,
    /// `ServiceStateChanged`, if the state changed.
    pub state_changed: Option<OutboxEvent>,
}

impl CheckRecord {
    /// The events that this record may bring into the outbox.
    pub fn event_ids(&self) -> impl Iterator<Item = Uuid> {
        let failure = self.failure.iter().flat_map(|failure| [failure.opened.id, failure.alerted.id]);
        let recovery =
            self.recovery.iter().flat_map(|recovery| [recovery.incident_resolved.id, recovery.alert_resolved.id]);
        self.state_changed.iter().map(|event| event.id).chain(failure).chain(recovery)
    }
}

/// What a failure opens, or continues where it is open already.
#[derive(Debug, Clone, Serialize)]
pub struct FailureRecord {
    /// The id of the incident, if this opens it.
    pub incident_id: IncidentId,
    /// Its title.
    pub title: String,
    /// Its message, also the alert's and the audit's.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
    /// Its context.
    pub context: Value,
    /// The id of the alert, if this raises it.
    pub alert_id: Uuid,
    /// `IncidentOpened`, if it is new.
    pub opened: OutboxEvent,
    /// `AlertRaised`, if it is new.
    pub alerted: OutboxEvent,
}

/// What a recovery ends.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveryRecord {
    /// The id of the recovery's own alert row.
    pub alert_id: Uuid,
    /// What that row says.
    pub message: String,
    /// `IncidentResolved`, if one was open.
    pub incident_resolved: OutboxEvent,
    /// `AlertResolved`, if one was active.
    pub alert_resolved: OutboxEvent,
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

/// Writes the results of one claim: one statement. Results of a claim that has ended, and checks that are stored
/// already, are left out of the receipts.
///
/// # Errors
/// Any store error; nothing is written then.
pub async fn insert(
    client: &Client,
    claim: Uuid,
    records: &[CheckRecord],
    region: &str,
    tick: DateTime<Utc>,
) -> Result<Vec<CheckReceipt>, StoreError> {
    let input = serde_json::to_value(records).map_err(|error| StoreError::Internal(Box::new(error)))?;
    let rows = client
        .query_typed(
            include_str!("sql/record_checks.sql"),
            &[(&input, Type::JSONB), (&claim, Type::UUID), (&region, Type::TEXT), (&tick, Type::TIMESTAMPTZ)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(CheckReceipt {
                check_id: column(row, "check_id")?,
                incident_id: column::<Option<String>>(row, "incident_id")?.map(IncidentId::from_stored),
                incident_created: column(row, "incident_created")?,
            })
        })
        .collect()
}

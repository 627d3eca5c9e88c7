//! The events of bus `watchkeeper`: one struct per event, in the past tense, complete for every cause, the same for
//! publishers and consumers.
//!
//! The statement that makes an event true inserts it into `event_outbox`: its type, its subject, its instant, and what only
//! that moment knows. [`complete`] joins the subject when the event is published. On the bus the detail carries `version`
//! and `id` beside the fields of the struct; the `id` makes every consumer idempotent.
//!
//! Users: `publish`, `defer`, `store`, `probe`, `notify`, `replay`. The contract for others: `docs/events.md`.

mod alert;
mod deferral;
mod heal;
mod incident;
mod outbox;
mod service;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

pub use alert::{AlertAcknowledged, AlertRaised, AlertResolved, AlertSubject};
pub use deferral::ReportDeferred;
pub use heal::{HealFinished, HealOutcome};
pub use incident::{
    AlertEscalated, Escalation, EscalationStep, IncidentAcknowledged, IncidentOpened, IncidentReopened,
    IncidentResolved, IncidentSubject,
};
pub use outbox::{IncompleteEvent, PendingEvent, complete};
pub use service::ServiceStateChanged;

use crate::model::{AlertType, Category, DEFAULT_ENVIRONMENT, Severity, uuid_at};

/// The version of every detail; raised when a field changes its meaning.
pub const VERSION: u32 = 1;

/// One event, as `detail-type` and `detail` on the bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "detail-type", content = "detail")]
pub enum Event {
    /// A new incident.
    IncidentOpened(IncidentOpened),
    /// A resolved incident is open again.
    IncidentReopened(IncidentReopened),
    /// A person works on an incident.
    IncidentAcknowledged(IncidentAcknowledged),
    /// An incident ended.
    IncidentResolved(IncidentResolved),
    /// A service went from one state to another.
    ServiceStateChanged(ServiceStateChanged),
    /// A new alert.
    AlertRaised(AlertRaised),
    /// A person works on an alert.
    AlertAcknowledged(AlertAcknowledged),
    /// An alert ended.
    AlertResolved(AlertResolved),
    /// More receivers should be notified.
    AlertEscalated(AlertEscalated),
    /// A playbook ended, and its effect was measured.
    HealFinished(HealFinished),
    /// Records wait for a database that is unavailable.
    ReportDeferred(ReportDeferred),
}

/// A row for `event_outbox`, or an entry for the bus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutboxEvent {
    /// The id that makes a consumer idempotent.
    pub id: Uuid,
    /// The event's name on the bus.
    pub detail_type: String,
    /// Its detail.
    pub detail: Value,
}

/// An event as it was received from the bus.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedEvent {
    /// Its id: the same each time that it is delivered.
    pub id: Uuid,
    /// What happened.
    pub event: Event,
}

/// Why a message is no event of this contract.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It is no JSON object with `detail-type` and `detail`.
    #[error("the message is no event of the bus")]
    Envelope(#[source] serde_json::Error),
    /// Another version of the contract.
    #[error("the detail of {detail_type} is of version {found}, expected {VERSION}")]
    Version {
        /// The event's name.
        detail_type: String,
        /// Its version.
        found: u32,
    },
    /// A field is missing or has another type.
    #[error("the detail of {detail_type} does not have the fields of this event")]
    Detail {
        /// The event's name.
        detail_type: String,
        /// Which field, and why.
        #[source]
        source: serde_json::Error,
    },
}

impl Event {
    /// The names of all events.
    pub const TYPES: [&str; 11] = [
        "IncidentOpened",
        "IncidentReopened",
        "IncidentAcknowledged",
        "IncidentResolved",
        "ServiceStateChanged",
        "AlertRaised",
        "AlertAcknowledged",
        "AlertResolved",
        "AlertEscalated",
        "HealFinished",
        "ReportDeferred",
    ];

    /// The event with a new id of this instant.
    ///
    /// # Errors
    /// When a value can't be JSON, as a map whose keys are no strings.
    pub fn into_outbox(self, now: DateTime<Utc>) -> Result<OutboxEvent, serde_json::Error> {
        self.with_id(uuid_at(now))
    }

    /// The event as an entry for the bus: `version` and `id` beside its fields.
    ///
    /// # Errors
    /// As [`Event::into_outbox`].
    pub fn with_id(self, id: Uuid) -> Result<OutboxEvent, serde_json::Error> {
        #[derive(Deserialize)]
        struct Adjacent {
            #[serde(rename = "detail-type")]
            detail_type: String,
            detail: serde_json::Map<String, Value>,
        }
        let Adjacent { detail_type, mut detail } = serde_json::from_value(serde_json::to_value(&self)?)?;
        detail.insert("version".to_owned(), json!(VERSION));
        detail.insert("id".to_owned(), json!(id));
        Ok(OutboxEvent { id, detail_type, detail: Value::Object(detail) })
    }

    /// The event of a message's body, as SQS has it from the bus; none for an event whose name this program does not know.
    ///
    /// # Errors
    /// When the body is no event of this contract.
    pub fn read(body: &str) -> Result<Option<ReceivedEvent>, EventError> {
        #[derive(Deserialize)]
        struct Envelope {
            #[serde(rename = "detail-type")]
            detail_type: String,
            detail: Head,
        }
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            version: u32,
            #[serde(default)]
            id: Uuid,
        }
        let Envelope { detail_type, detail: Head { version, id } } =
            serde_json::from_str(body).map_err(EventError::Envelope)?;
        if !Self::TYPES.contains(&detail_type.as_str()) {
            return Ok(None);
        }
        if version != VERSION {
            return Err(EventError::Version { detail_type, found: version });
        }
        let event = serde_json::from_str(body)
            .or_else(|source| of_version_before(body).ok_or(source))
            .map_err(|source| EventError::Detail { detail_type, source })?;
        Ok(Some(ReceivedEvent { id, event }))
    }
}

/// An event of the release before, whose details lacked some fields of their subjects: such events may wait in a queue
/// during a deployment. Consumers read the current state by the subject's id.
fn of_version_before(body: &str) -> Option<Event> {
    let mut message: Value = serde_json::from_str(body).ok()?;
    let detail = message.get_mut("detail")?.as_object_mut()?;
    let time = DateTime::UNIX_EPOCH;
    let missing = json!({
        "severity": Severity::Medium, "category": Category::Unknown, "application": "unknown",
        "environment": DEFAULT_ENVIRONMENT, "title": "", "detected_at": time, "alert_type": AlertType::ServiceDown,
        "service": "", "message": "", "raised_at": time,
    });
    for (name, value) in missing.as_object()? {
        detail.entry(name).or_insert_with(|| value.clone());
    }
    serde_json::from_value(message).ok()
}

#[cfg(test)]
mod tests;

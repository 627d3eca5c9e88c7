//! Builds an event from its row in the outbox and its subject. Pure.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::{
    AlertAcknowledged, AlertEscalated, AlertRaised, AlertResolved, AlertSubject, Escalation, EscalationStep, Event,
    HealFinished, HealOutcome, IncidentAcknowledged, IncidentOpened, IncidentReopened, IncidentResolved,
    IncidentSubject,
};

/// A row of the outbox, with its subject.
#[derive(Debug, Clone)]
pub struct PendingEvent {
    /// Its id.
    pub id: Uuid,
    /// The event's name.
    pub detail_type: String,
    /// The subject's id, and what only the moment of the event knew.
    pub detail: Value,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The incident that `detail` names, if it exists.
    pub incident: Option<IncidentSubject>,
    /// The alert that `detail` names, if it exists.
    pub alert: Option<AlertSubject>,
    /// How often the bus refused it so far.
    pub attempts: i32,
}

/// Why a row can't be published.
#[derive(Debug, thiserror::Error)]
pub enum IncompleteEvent {
    /// Its incident or alert was deleted: there is nothing to publish any more.
    #[error("the incident or alert of this event does not exist any more")]
    SubjectDeleted,
    /// An event that this program does not know; another version of it may.
    #[error("unknown event {0}")]
    UnknownType(String),
    /// The row lacks what only the moment knew.
    #[error("the outbox row of {detail_type} is incomplete")]
    Row {
        /// The event's name.
        detail_type: String,
        /// Which field, and why.
        #[source]
        source: serde_json::Error,
    },
}

/// The event of a row.
///
/// # Errors
/// When its subject was deleted, or the row is not one that this program writes.
pub fn complete(row: &PendingEvent) -> Result<Event, IncompleteEvent> {
    let at = row.at;
    Ok(match row.detail_type.as_str() {
        "IncidentOpened" => Event::IncidentOpened(IncidentOpened { incident: row.incident()? }),
        "IncidentReopened" => Event::IncidentReopened(IncidentReopened { incident: row.incident()?, reopened_at: at }),
        "IncidentAcknowledged" => {
            Event::IncidentAcknowledged(IncidentAcknowledged { incident: row.incident()?, acknowledged_at: at })
        }
        "IncidentResolved" => Event::IncidentResolved(IncidentResolved { incident: row.incident()?, resolved_at: at }),
        "ServiceStateChanged" => Event::ServiceStateChanged(row.facts()?),
        "AlertRaised" => Event::AlertRaised(AlertRaised { alert: row.alert()?, raised_at: at }),
        "AlertAcknowledged" => Event::AlertAcknowledged(AlertAcknowledged { alert: row.alert()?, acknowledged_at: at }),
        "AlertResolved" => Event::AlertResolved(AlertResolved { alert: row.alert()?, resolved_at: at }),
        "AlertEscalated" => {
            let escalation = match row.facts()? {
                EscalationFacts::Severity => Escalation::Severity(row.incident()?),
                EscalationFacts::Unacknowledged(step) => Escalation::Unacknowledged(step),
            };
            Event::AlertEscalated(AlertEscalated { escalation, escalated_at: at })
        }
        "HealFinished" => {
            let HealFacts { playbook, attempt, outcome, message } = row.facts()?;
            let incident = row.incident()?;
            Event::HealFinished(HealFinished { incident, playbook, attempt, outcome, message, finished_at: at })
        }
        unknown => return Err(IncompleteEvent::UnknownType(unknown.to_owned())),
    })
}

/// What the outbox holds of an escalation beside its subject.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
enum EscalationFacts {
    Severity,
    Unacknowledged(EscalationStep),
}

/// What the outbox holds of a heal run beside its subject.
#[derive(Deserialize)]
struct HealFacts {
    playbook: String,
    attempt: u32,
    outcome: HealOutcome,
    message: String,
}

impl PendingEvent {
    fn incident(&self) -> Result<IncidentSubject, IncompleteEvent> {
        self.incident.clone().ok_or(IncompleteEvent::SubjectDeleted)
    }

    fn alert(&self) -> Result<AlertSubject, IncompleteEvent> {
        self.alert.clone().ok_or(IncompleteEvent::SubjectDeleted)
    }

    fn facts<T: DeserializeOwned>(&self) -> Result<T, IncompleteEvent> {
        let detail_type = || self.detail_type.clone();
        T::deserialize(&self.detail).map_err(|source| IncompleteEvent::Row { detail_type: detail_type(), source })
    }
}

//! What happened, for whoever wants to act on it: the events of bus `watchkeeper`, past tense.
//!
//! An event is written to `event_outbox` in the statement that makes it true, and published from there; its `id`
//! makes every consumer safe to call twice. A detail carries `version` (its shape) and `id`.
//!
//! Users: `intake`, `probe`, `defer`, `store::lifecycle`, `notify`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::defer::Deferred;
use crate::model::{AlertType, Category, IncidentId, ServiceState, Severity};

/// The shape of every detail; raised when a field changes its meaning.
pub(crate) const VERSION: u32 = 1;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Event<'a> {
    /// A problem that was not known before.
    IncidentOpened {
        /// The new incident.
        incident_id: &'a IncidentId,
        /// How bad it is.
        severity: Severity,
        /// Which part of the system.
        category: Category,
        /// The failing application.
        application: &'a str,
        /// Where it runs.
        environment: &'a str,
        /// One line.
        title: &'a str,
        /// When it began.
        detected_at: DateTime<Utc>,
    },
    /// A problem is over. The store adds `incident_id`.
    IncidentResolved {
        /// The application that is well again.
        application: &'a str,
        /// Where it runs.
        environment: &'a str,
        /// When it ended.
        resolved_at: DateTime<Utc>,
    },
    /// A problem that was over is back. The store adds `incident_id`.
    IncidentReopened {
        /// The application that fails again.
        application: &'a str,
        /// Where it runs.
        environment: &'a str,
        /// When it came back.
        reopened_at: DateTime<Utc>,
    },
    /// Somebody is on it. The store adds `incident_id`.
    IncidentAcknowledged {
        /// The failing application.
        application: &'a str,
        /// Where it runs.
        environment: &'a str,
        /// Since when.
        acknowledged_at: DateTime<Utc>,
    },
    /// A service went from one state to another.
    ServiceStateChanged {
        /// The service.
        service: &'a str,
        /// Where it runs.
        environment: &'a str,
        /// What it was.
        from: ServiceState,
        /// What it is.
        to: ServiceState,
        /// Since when.
        changed_at: DateTime<Utc>,
    },
    /// Somebody should know. The store adds `incident_id`.
    AlertRaised {
        /// The alert's id.
        alert_id: Uuid,
        /// The service that it is about.
        service: &'a str,
        /// Where it runs.
        environment: &'a str,
        /// What kind.
        alert_type: AlertType,
        /// How bad it is.
        severity: Severity,
        /// One line.
        message: &'a str,
    },
    /// What somebody was told is over. The store adds `alert_id`.
    AlertResolved {
        /// The service that it was about.
        service: &'a str,
        /// Where it runs.
        environment: &'a str,
        /// When it ended.
        resolved_at: DateTime<Utc>,
    },
    /// Somebody is on an alert that belongs to no incident.
    AlertAcknowledged {
        /// The alert's id.
        alert_id: Uuid,
        /// The service that it is about.
        service: &'a str,
        /// Where it runs.
        environment: &'a str,
        /// Since when.
        acknowledged_at: DateTime<Utc>,
    },
    /// More people should know: nobody has reacted in time, or it has become worse. The store adds what it is about:
    /// `group_key`, `policy`, `step` and `receivers` of a ladder; `incident_id` and its labels of what has become worse (a
    /// trigger of `incidents` writes it).
    AlertEscalated {
        /// Why.
        reason: EscalationReason,
        /// Since when.
        escalated_at: DateTime<Utc>,
    },
    /// A playbook has run, and it was measured whether that helped.
    HealFinished {
        /// What was to be healed.
        incident_id: &'a IncidentId,
        /// What was done.
        playbook: &'a str,
        /// Which attempt on this incident it was, from 1.
        attempt: u32,
        /// What came of it.
        outcome: HealOutcome,
        /// One line.
        message: &'a str,
        /// When it ended.
        finished_at: DateTime<Utc>,
    },
    /// Reports, steps, check-ins and heartbeats wait for a database that is away. Never in the outbox, which is there:
    /// `defer` puts it on the bus.
    ReportDeferred {
        /// What waits, where it fits …
        #[serde(skip_serializing_if = "Option::is_none")]
        records: Option<&'a [Deferred]>,
        /// … or the same JSON array, gzip in base64.
        #[serde(skip_serializing_if = "Option::is_none")]
        records_gzip: Option<&'a str>,
    },
}

/// Why more people should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationReason {
    /// Nobody has reacted in time.
    Unacknowledged,
    /// It has become worse.
    Severity,
}

/// What came of a playbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealOutcome {
    /// It helped, as a measurement shows.
    Succeeded,
    /// It did not help; there may be another attempt.
    Failed,
    /// It did not help, and there will be no other attempt.
    GaveUp,
}

/// An event as the outbox holds it.
#[derive(Debug, Clone, Serialize)]
pub struct OutboxEvent {
    /// Makes a consumer safe to call twice.
    pub id: Uuid,
    /// The event's name on the bus.
    pub detail_type: &'static str,
    /// What a consumer reads.
    pub detail: Value,
}

impl Event<'_> {
    /// The event's name on the bus.
    #[must_use]
    pub fn detail_type(&self) -> &'static str {
        match self {
            Self::IncidentOpened { .. } => "IncidentOpened",
            Self::IncidentResolved { .. } => "IncidentResolved",
            Self::IncidentReopened { .. } => "IncidentReopened",
            Self::IncidentAcknowledged { .. } => "IncidentAcknowledged",
            Self::ServiceStateChanged { .. } => "ServiceStateChanged",
            Self::AlertRaised { .. } => "AlertRaised",
            Self::AlertResolved { .. } => "AlertResolved",
            Self::AlertAcknowledged { .. } => "AlertAcknowledged",
            Self::AlertEscalated { .. } => "AlertEscalated",
            Self::HealFinished { .. } => "HealFinished",
            Self::ReportDeferred { .. } => "ReportDeferred",
        }
    }

    /// The event with an id of its own, ready for the outbox.
    #[must_use]
    pub fn into_outbox(self, now: DateTime<Utc>) -> OutboxEvent {
        let id = crate::model::uuid_at(now);
        let mut detail = json!({ "version": VERSION, "id": id });
        if let (Value::Object(all), Ok(Value::Object(own))) = (&mut detail, serde_json::to_value(&self)) {
            all.extend(own);
        }
        OutboxEvent { id, detail_type: self.detail_type(), detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_carries_its_version_its_id_and_its_fields() {
        let event = Event::ServiceStateChanged {
            service: "backend",
            environment: "production",
            from: ServiceState::Healthy,
            to: ServiceState::Down,
            changed_at: DateTime::UNIX_EPOCH,
        };
        let stored = event.into_outbox(DateTime::UNIX_EPOCH);
        assert_eq!(stored.detail_type, "ServiceStateChanged");
        assert_eq!(
            stored.detail,
            json!({
                "version": 1, "id": stored.id, "service": "backend", "environment": "production",
                "from": "healthy", "to": "down", "changed_at": "1970-01-01T00:00:00Z",
            })
        );
    }
}

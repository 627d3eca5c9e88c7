//! Events whose subject is an incident.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Category, IncidentId, Receiver, Severity};

/// The incident of an event, as it is when the event is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentSubject {
    /// Its id.
    pub incident_id: IncidentId,
    /// Its severity.
    pub severity: Severity,
    /// The part of the system.
    pub category: Category,
    /// The failing application.
    pub application: String,
    /// The environment of that.
    pub environment: String,
    /// One line.
    pub title: String,
    /// When it was detected first.
    pub detected_at: DateTime<Utc>,
}

/// A new incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentOpened {
    /// The incident.
    #[serde(flatten)]
    pub incident: IncidentSubject,
}

/// A resolved incident is open again: the problem returned, or a person reopened it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentReopened {
    /// The incident.
    #[serde(flatten)]
    pub incident: IncidentSubject,
    /// When it was reopened.
    pub reopened_at: DateTime<Utc>,
}

/// A person works on an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentAcknowledged {
    /// The incident.
    #[serde(flatten)]
    pub incident: IncidentSubject,
    /// When it was acknowledged.
    pub acknowledged_at: DateTime<Utc>,
}

/// An incident ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentResolved {
    /// The incident.
    #[serde(flatten)]
    pub incident: IncidentSubject,
    /// When it was resolved.
    pub resolved_at: DateTime<Utc>,
}

/// More receivers should be notified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertEscalated {
    /// Why, and of what.
    #[serde(flatten)]
    pub escalation: Escalation,
    /// When it was escalated.
    pub escalated_at: DateTime<Utc>,
}

/// Why more receivers should be notified: the field `reason`, and the fields that belong to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Escalation {
    /// The incident's severity was raised.
    Severity(IncidentSubject),
    /// Nothing in a notification group was acknowledged in time: a step of its escalation policy is due.
    Unacknowledged(EscalationStep),
}

/// A due step of an escalation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EscalationStep {
    /// The notification group.
    pub group_key: String,
    /// The escalation policy's name.
    pub policy: String,
    /// Which step, from 1.
    pub step: u32,
    /// The receivers of the step.
    pub receivers: Vec<Receiver>,
}

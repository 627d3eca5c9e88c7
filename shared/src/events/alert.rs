//! Events whose subject is an alert.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{AlertType, IncidentId, Severity};

/// The alert of an event, as it is when the event is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertSubject {
    /// Its id.
    pub alert_id: Uuid,
    /// Its kind.
    pub alert_type: AlertType,
    /// Its severity.
    pub severity: Severity,
    /// The service.
    pub service: String,
    /// The environment of that.
    pub environment: String,
    /// One line.
    pub message: String,
    /// The incident that it belongs to, if any.
    pub incident_id: Option<IncidentId>,
}

/// A new alert. One with a page delay is raised when that has passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRaised {
    /// The alert.
    #[serde(flatten)]
    pub alert: AlertSubject,
    /// When it was raised.
    pub raised_at: DateTime<Utc>,
}

/// A person works on an alert that belongs to no incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertAcknowledged {
    /// The alert.
    #[serde(flatten)]
    pub alert: AlertSubject,
    /// When it was acknowledged.
    pub acknowledged_at: DateTime<Utc>,
}

/// An alert that had been raised ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertResolved {
    /// The alert.
    #[serde(flatten)]
    pub alert: AlertSubject,
    /// When it was resolved.
    pub resolved_at: DateTime<Utc>,
}

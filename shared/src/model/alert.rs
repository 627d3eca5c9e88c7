//! Alerts: findings about a service (down, degraded, recovered, certificate expiring).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Severity, severity_of_failed_check};

use super::IncidentId;

/// What kind of alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertType {
    /// A service fails its checks.
    ServiceDown,
    /// A service answers, but degraded.
    ServiceDegraded,
    /// A service has recovered; the probe stores the alert as resolved.
    Recovery,
    /// A certificate expires soon.
    CertificateExpiring,
}

impl AlertType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::ServiceDown, Self::ServiceDegraded, Self::Recovery, Self::CertificateExpiring];

    /// The spelling in columns, answers and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceDown => "service_down",
            Self::ServiceDegraded => "service_degraded",
            Self::Recovery => "recovery",
            Self::CertificateExpiring => "certificate_expiring",
        }
    }

    /// The type of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The severity of an alert of this type in this environment: degraded is less urgent than down; the other types
    /// are LOW.
    #[must_use]
    pub fn severity(self, environment: &str) -> Severity {
        match (self, severity_of_failed_check(environment)) {
            (Self::ServiceDown, down) => down,
            (Self::ServiceDegraded, Severity::Critical | Severity::High) => Severity::Medium,
            (Self::ServiceDegraded | Self::Recovery | Self::CertificateExpiring, _) => Severity::Low,
        }
    }
}

/// The status of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// Not acknowledged yet.
    Active,
    /// An assignee works on it.
    Acknowledged,
    /// Ended.
    Resolved,
}

impl AlertStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Active, Self::Acknowledged, Self::Resolved];

    /// The spelling in columns, answers and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The status of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// An alert as stored. Field names are the column names.
#[derive(Debug, Clone, Serialize)]
pub struct Alert {
    /// The row's id.
    pub id: Uuid,
    /// The service that it is about.
    pub service_name: String,
    /// The service's environment.
    pub environment: String,
    /// The incident that it belongs to, if any.
    pub incident_id: Option<IncidentId>,
    /// The type.
    pub alert_type: AlertType,
    /// The status.
    pub status: AlertStatus,
    /// One line for a person.
    pub message: Option<String>,
    /// More for a machine.
    pub details: Option<Value>,
    /// When it was raised.
    pub created_at: DateTime<Utc>,
    /// When it was acknowledged.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub resolved_at: Option<DateTime<Utc>>,
}

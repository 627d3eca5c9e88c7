//! A service that is probed: what an operator configured ([`ServiceSpec`]), and what the probe knows of it
//! ([`Standing`]).

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ServiceSpec, Severity};

/// The environment of whatever names none.
pub const DEFAULT_ENVIRONMENT: &str = "production";

/// How a service is, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// It passes its checks.
    Healthy,
    /// It answers, but not well.
    Degraded,
    /// It fails its checks.
    Down,
    /// Not checked yet.
    Unknown,
}

impl ServiceState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Degraded, Self::Down, Self::Unknown];

    /// The spelling in columns, answers and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    /// The state of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How bad a failed health check is in this environment: CRITICAL in production and wherever the name says
/// nothing else, HIGH where changes are tried out, MEDIUM in development, LOW on a laptop.
#[must_use]
pub fn severity_of_failed_check(environment: &str) -> Severity {
    match environment.trim().to_ascii_lowercase().as_str() {
        "test" | "testing" | "staging" | "stage" | "qa" | "preview" => Severity::High,
        "development" | "dev" => Severity::Medium,
        "local" | "localhost" => Severity::Low,
        _ => Severity::Critical,
    }
}

/// The last verdicts on a service, newest first: what tells a service that flaps. Field names are those of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RecentVerdicts {
    /// Bit 0 is the newest; 1 = it failed.
    #[serde(rename = "recent_failed")]
    pub failed: u32,
    /// How many of the bits are known; at most [`RecentVerdicts::KEPT`].
    #[serde(rename = "recent_known")]
    pub known: u8,
}

impl RecentVerdicts {
    /// As many verdicts as are kept.
    pub const KEPT: u8 = 20;
}

/// What is known of a service. Changed only as a whole, by compare-and-set on its revision. Field names are those of its
/// columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Counts the changes; it is the database that counts.
    #[serde(skip)]
    pub revision: i64,
    /// How it is.
    pub state: ServiceState,
    /// Since when.
    pub state_changed_at: Option<DateTime<Utc>>,
    /// Failed checks in a row.
    pub consecutive_failures: u32,
    /// Checks in a row that were slow or short of something, but no failures.
    pub consecutive_degraded: u32,
    /// Checks in a row that did not fail.
    pub consecutive_successes: u32,
    /// The first failed check of those in a row; the start of the outage while it is down.
    pub failing_since: Option<DateTime<Utc>>,
    /// Its last verdicts.
    #[serde(flatten)]
    pub recent: RecentVerdicts,
    /// Whether it goes up and down so often that one good check, or two, mean nothing.
    pub flapping: bool,
    /// When the alert of this outage was raised; none while there is none.
    pub down_alerted_at: Option<DateTime<Utc>>,
    /// When the alert that it is not well was raised; none while there is none.
    pub degraded_alerted_at: Option<DateTime<Utc>>,
}

impl Standing {
    /// Of a service that has never been checked.
    pub const NEW: Self = Self {
        revision: 0,
        state: ServiceState::Unknown,
        state_changed_at: None,
        consecutive_failures: 0,
        consecutive_degraded: 0,
        consecutive_successes: 0,
        failing_since: None,
        recent: RecentVerdicts { failed: 0, known: 0 },
        flapping: false,
        down_alerted_at: None,
        degraded_alerted_at: None,
    };
}

/// A service as the probe and the operator see it.
#[derive(Debug, Clone)]
pub struct Service {
    /// The row's id.
    pub id: Uuid,
    /// What is configured.
    pub spec: ServiceSpec,
    /// What is known.
    pub standing: Standing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_is_as_bad_as_its_environment() {
        for (environment, severity) in [
            ("production", Severity::Critical),
            ("", Severity::Critical),
            ("eu-customers", Severity::Critical),
            ("Test", Severity::High),
            ("staging", Severity::High),
            ("development", Severity::Medium),
            ("local", Severity::Low),
        ] {
            assert_eq!(severity_of_failed_check(environment), severity, "{environment}");
        }
    }
}

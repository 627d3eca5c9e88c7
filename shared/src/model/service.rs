//! A service that is probed: its configuration ([`ServiceSpec`]) and its recorded state ([`Standing`]).

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ServiceSpec, Severity};

/// The environment of reports and services that name none.
pub const DEFAULT_ENVIRONMENT: &str = "production";

/// The state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// It passes its checks.
    Healthy,
    /// It answers, but degraded.
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

/// The state of a service's circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Each check runs.
    Closed,
    /// No check runs before the next retry.
    Open,
    /// The retry succeeded: a second success closes it, a failure opens it again.
    HalfOpen,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The spelling in columns and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// The state of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// The severity of a failed health check in this environment: CRITICAL in production and under any other name, HIGH in
/// test environments, MEDIUM in development, LOW on a developer's machine.
#[must_use]
pub fn severity_of_failed_check(environment: &str) -> Severity {
    match environment.trim().to_ascii_lowercase().as_str() {
        "test" | "testing" | "staging" | "stage" | "qa" | "preview" => Severity::High,
        "development" | "dev" => Severity::Medium,
        "local" | "localhost" => Severity::Low,
        _ => Severity::Critical,
    }
}

/// The last verdicts on a service, newest first, from which flapping is detected. Field names are those of its columns.
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
    /// The number of verdicts that are stored.
    pub const KEPT: u8 = 20;
}

/// The recorded state of a service. Changed only as a whole, by compare-and-set on its revision. Field names are those
/// of its columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The number of changes; the database increments it.
    #[serde(skip)]
    pub revision: i64,
    /// The state.
    pub state: ServiceState,
    /// When the state changed.
    pub state_changed_at: Option<DateTime<Utc>>,
    /// Consecutive failed checks.
    pub consecutive_failures: u32,
    /// Consecutive degraded checks.
    pub consecutive_degraded: u32,
    /// Consecutive checks that did not fail.
    pub consecutive_successes: u32,
    /// The first of the consecutive failed checks; while it is down, the start of the outage.
    pub failing_since: Option<DateTime<Utc>>,
    /// Its last verdicts.
    #[serde(flatten)]
    pub recent: RecentVerdicts,
    /// Whether it flaps: it changes so often that one or two good checks are no recovery.
    pub flapping: bool,
    /// When the alert of this outage was raised.
    pub down_alerted_at: Option<DateTime<Utc>>,
    /// When the alert of its degradation was raised.
    pub degraded_alerted_at: Option<DateTime<Utc>>,
}

impl Standing {
    /// The state of a service that was never checked.
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

/// A service: configuration and state.
#[derive(Debug, Clone)]
pub struct Service {
    /// The row's id.
    pub id: Uuid,
    /// The configuration.
    pub spec: ServiceSpec,
    /// The recorded state.
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

//! When a service's failure raises an alert and notifies. Stored as JSON; a missing field has its default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MaintenanceWindow, Severity, severity_of_failed_check};

/// When a service's failure raises an alert and notifies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertPolicy {
    /// Consecutive confirmed failures after which it is down.
    pub failure_threshold: u32,
    /// Consecutive successful checks after which it has recovered.
    pub recovery_threshold: u32,
    /// Services of the same environment that it depends on: while one is down, its own alerts are suppressed.
    pub parents: Vec<String>,
    /// Tags; `external` puts it behind a circuit breaker.
    pub tags: Vec<String>,
    /// Maintenance windows: failures notify no one and do not count.
    pub maintenance: Vec<MaintenanceWindow>,
    /// How many regions must agree that it is down; none = a majority of those that check it.
    pub quorum: Option<u32>,
    /// How long it must be down before a notification; none = the environment's default ([`page_delay`]).
    pub page_after_seconds: Option<u32>,
}

impl Default for AlertPolicy {
    fn default() -> Self {
        Self {
            failure_threshold: 1,
            recovery_threshold: 2,
            parents: Vec::new(),
            tags: Vec::new(),
            maintenance: Vec::new(),
            quorum: None,
            page_after_seconds: None,
        }
    }
}

impl AlertPolicy {
    /// The tag of a service that another party runs.
    pub const EXTERNAL: &str = "external";
    /// Only the last twenty verdicts are stored.
    const MAX_THRESHOLD: u32 = 20;
    const ITEMS: usize = 20;

    /// Whether another party runs it: a circuit breaker throttles its checks while it is down.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.tags.iter().any(|tag| tag == Self::EXTERNAL)
    }

    /// How long it must be down before a notification.
    #[must_use]
    pub fn page_delay(&self, environment: &str) -> Duration {
        self.page_after_seconds.map_or_else(|| page_delay(environment), |seconds| Duration::from_secs(seconds.into()))
    }

    pub(super) fn validate(&self, name: &str) -> Result<(), String> {
        for (what, threshold) in
            [("failure_threshold", self.failure_threshold), ("recovery_threshold", self.recovery_threshold)]
        {
            if !(1..=Self::MAX_THRESHOLD).contains(&threshold) {
                return Err(format!("{what} must be between 1 and {}", Self::MAX_THRESHOLD));
            }
        }
        for (what, count) in
            [("parents", self.parents.len()), ("tags", self.tags.len()), ("maintenance", self.maintenance.len())]
        {
            if count > Self::ITEMS {
                return Err(format!("{what}: at most {}", Self::ITEMS));
            }
        }
        if self.parents.iter().any(|parent| parent == name) {
            return Err("parents: it can't be its own".to_owned());
        }
        if self.quorum == Some(0) {
            return Err("quorum must be at least 1".to_owned());
        }
        if self.page_after_seconds.is_some_and(|seconds| seconds > 86_400) {
            return Err("page_after must be at most 1 day".to_owned());
        }
        self.maintenance
            .iter()
            .try_for_each(|window| window.validate().map_err(|error| format!("maintenance: {error}")))
    }
}

/// The default of [`AlertPolicy::page_delay`]: none in production, five minutes on a developer's machine.
#[must_use]
pub fn page_delay(environment: &str) -> Duration {
    Duration::from_secs(match severity_of_failed_check(environment) {
        Severity::Critical => 0,
        Severity::High => 30,
        Severity::Medium => 120,
        Severity::Low => 300,
    })
}

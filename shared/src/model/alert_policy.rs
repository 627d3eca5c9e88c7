//! When somebody is told of a service. Serialised, it is what the database keeps of it; a field that is missing there has
//! its default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MaintenanceWindow;

/// When somebody is told of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertPolicy {
    /// Confirmed failures in a row that make it down.
    pub failure_threshold: u32,
    /// Good checks in a row that end that.
    pub recovery_threshold: u32,
    /// Services of the same environment that it needs: while one of them is down, nobody is told of this one.
    pub parents: Vec<String>,
    /// What it is; `external` puts it behind a circuit breaker.
    pub tags: Vec<String>,
    /// When nobody is told, and nothing counts.
    pub maintenance: Vec<MaintenanceWindow>,
    /// How many regions must agree that it is down; none = more than half of those that check it.
    pub quorum: Option<u32>,
    /// How long it must be down before somebody is told; none = as its environment says ([`page_delay`]).
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
    /// The tag of somebody else's service.
    pub const EXTERNAL: &str = "external";
    /// Verdicts that count are among the last twenty.
    const MAX_THRESHOLD: u32 = 20;
    const ITEMS: usize = 20;

    /// Whether it is somebody else's service, which is asked gently while it is down.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.tags.iter().any(|tag| tag == Self::EXTERNAL)
    }

    /// How long it must be down before somebody is told.
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

/// How long a service of this environment must be down before somebody is told: production is told of at once, a laptop
/// after five minutes.
#[must_use]
pub fn page_delay(environment: &str) -> Duration {
    Duration::from_secs(match environment.trim().to_ascii_lowercase().as_str() {
        "test" | "testing" | "staging" | "stage" | "qa" | "preview" => 30,
        "development" | "dev" => 120,
        "local" | "localhost" => 300,
        _ => 0,
    })
}

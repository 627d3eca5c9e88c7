//! Incidents: problems that an operator sees.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AlertStatus, Severity};

/// `INC-<base36 milliseconds>-<8 random base36>`, for a failed check `INC-HEALTH-…`; upper case, 30 characters at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(String);

impl IncidentId {
    /// A new id for an incident that a report opens.
    #[must_use]
    pub fn for_report(now: DateTime<Utc>) -> Self {
        Self::with_prefix("INC", now)
    }

    /// A new id for an incident that a failed health check opens.
    #[must_use]
    pub fn for_failed_check(now: DateTime<Utc>) -> Self {
        Self::with_prefix("INC-HEALTH", now)
    }

    /// An id as stored or as requested.
    #[must_use]
    pub fn from_stored(id: String) -> Self {
        Self(id)
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn with_prefix(prefix: &str, now: DateTime<Utc>) -> Self {
        let milliseconds = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let random = u64::from_le_bytes(random_bytes()) % 36_u64.pow(8);
        Self(format!("{prefix}-{}-{:0>8}", base36(milliseconds), base36(random)))
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Eight random bytes: the last eight of a `UUIDv4` have 62 random bits, more than eight base-36 digits need.
fn random_bytes() -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[8..]);
    bytes
}

fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut text = Vec::new();
    loop {
        text.push(char::from(DIGITS[usize::try_from(number % 36).unwrap_or(0)]));
        number /= 36;
        if number == 0 {
            return text.into_iter().rev().collect();
        }
    }
}

/// The status of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentStatus {
    /// Open, not acknowledged yet.
    Detected,
    /// Open, an assignee works on it.
    Acknowledged,
    /// Ended.
    Resolved,
}

impl IncidentStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Detected, Self::Acknowledged, Self::Resolved];

    /// The spelling in columns, answers and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detected => "detected",
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

impl From<AlertStatus> for IncidentStatus {
    /// The status of an alert, as that of an incident.
    fn from(status: AlertStatus) -> Self {
        match status {
            AlertStatus::Active => Self::Detected,
            AlertStatus::Acknowledged => Self::Acknowledged,
            AlertStatus::Resolved => Self::Resolved,
        }
    }
}

/// An incident as a list shows it. Field names are the column names.
#[derive(Debug, Clone, Serialize)]
pub struct IncidentSummary {
    /// The row's id.
    pub id: uuid::Uuid,
    /// The id that people use.
    pub incident_id: IncidentId,
    /// One line.
    pub title: String,
    /// The status.
    pub status: IncidentStatus,
    /// The severity.
    pub severity: Severity,
    /// The category (a word of another writer is shown unchanged).
    pub category: String,
    /// The failing application.
    pub application: String,
    /// The application's environment.
    pub environment: String,
    /// The exception's class.
    pub error_type: Option<String>,
    /// The failing route or operation.
    pub endpoint: Option<String>,
    /// The number of its occurrences.
    pub occurrences: i64,
    /// The number of distinct users affected, as far as reports name them.
    pub user_count: i64,
    /// The release of its first occurrence.
    pub first_release: Option<String>,
    /// The release of its last occurrence.
    pub last_release: Option<String>,
    /// When it began.
    pub detected_at: DateTime<Utc>,
    /// When it was last reported.
    pub last_seen_at: DateTime<Utc>,
    /// When it was last reopened.
    pub reopened_at: Option<DateTime<Utc>>,
    /// How often it was reopened.
    pub reopen_count: i32,
    /// Who acknowledged or resolved it.
    pub handled_by: Option<String>,
    /// When it was resolved.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Seconds from detection to resolution.
    pub time_to_resolution_seconds: Option<f64>,
}

/// An incident with all its details, which may take one or two megabytes.
#[derive(Debug, Clone, Serialize)]
pub struct Incident {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: IncidentSummary,
    /// The whole message.
    pub error_message: String,
    /// The stack trace.
    pub stack_trace: Option<String>,
    /// Everything else that was reported.
    pub context: Option<Value>,
    /// Samples of its occurrences, newest first: the last (position 0), the first, each power of two; long texts are
    /// cut.
    pub samples: Value,
    /// Its audit rows, newest first.
    pub timeline: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_match_the_schema() {
        let now = DateTime::from_timestamp_millis(1_795_000_000_000).unwrap();
        let id = IncidentId::for_report(now);
        let pattern = regex::Regex::new("^INC-[0-9A-Z]{8,9}-[0-9A-Z]{8}$").unwrap();
        assert!(pattern.is_match(id.as_str()), "{id}");
        let id = IncidentId::for_failed_check(now);
        assert!(id.as_str().starts_with("INC-HEALTH-") && id.as_str().len() <= 30, "{id}");
    }

    #[test]
    fn two_ids_of_one_instant_differ() {
        let now = DateTime::UNIX_EPOCH;
        assert_ne!(IncidentId::for_report(now), IncidentId::for_report(now));
    }
}

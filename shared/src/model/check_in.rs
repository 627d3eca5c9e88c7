//! A job's check-in, as Sentry's SDKs send it: begun, succeeded, failed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The status that a job reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckInStatus {
    /// It has begun.
    InProgress,
    /// It has succeeded.
    Ok,
    /// It has failed.
    Error,
    /// It did not begin when it should have.
    Missed,
    /// It did not end before its timeout.
    Timeout,
}

impl CheckInStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::InProgress, Self::Ok, Self::Error, Self::Missed, Self::Timeout];

    /// The spelling in the protocol and in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Missed => "missed",
            Self::Timeout => "timeout",
        }
    }

    /// The status of this spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// One check-in of a job. Texts are untrusted; they are cut to their columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckIn {
    /// Number of the application whose DSN was used.
    pub application: i64,
    /// The job's environment.
    pub environment: String,
    /// The job.
    pub monitor_slug: String,
    /// The run: the check-ins of its start and its end have the same id.
    pub check_in_id: String,
    /// Its status.
    pub status: CheckInStatus,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Its schedule, as the SDK configures it.
    pub config: Option<Value>,
    /// When it was received.
    pub received_at: DateTime<Utc>,
}

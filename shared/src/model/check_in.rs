//! A job's sign of life, as Sentry's SDKs send it: it has begun, it has ended well, it has failed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a job says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckInStatus {
    /// It has begun.
    InProgress,
    /// It has ended well.
    Ok,
    /// It has failed.
    Error,
    /// It did not begin when it should have.
    Missed,
    /// It has begun and did not end in time.
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

/// A job's sign of life. Texts may be anything; what is longer than its column is cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckIn {
    /// Number of the application whose DSN was used.
    pub application: i64,
    /// Where the job runs.
    pub environment: String,
    /// Which job.
    pub monitor_slug: String,
    /// Which of its runs: what begins and what ends have the same.
    pub check_in_id: String,
    /// What it says.
    pub status: CheckInStatus,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// When it is to run, as the SDK configures it.
    pub config: Option<Value>,
    /// When we heard of it.
    pub received_at: DateTime<Utc>,
}

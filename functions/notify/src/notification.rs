//! What a notification says, before a channel formats it. It is stored as `notifications.content`, so that sending it again
//! needs nothing else.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::model::{Category, Severity};
pub use shared::store::notifications::{NotificationKind, ProblemState};
use uuid::Uuid;

/// One problem, as a notification shows it. All text is redacted already, and none of it is escaped: each channel does that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where it stands.
    pub state: ProblemState,
    /// One line.
    pub title: String,
    /// How severe it is.
    pub severity: Severity,
    /// Which part of the system.
    pub category: Category,
    /// The failing application.
    pub application: String,
    /// Where it runs.
    pub environment: String,
    /// The failing service, where it is one that is probed.
    pub service: Option<String>,
    /// The error's own words.
    pub message: Option<String>,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it ended.
    pub resolved_at: Option<DateTime<Utc>>,
    /// How often it was seen.
    pub occurrences: i64,
    /// How many users met it; 0 = unknown.
    pub users: i64,
    /// Who has acknowledged or resolved it.
    pub handled_by: Option<String>,
    /// What healing tried, oldest first.
    pub tried: Vec<String>,
    /// `INC-…`, where it is an incident.
    pub incident_id: Option<String>,
    /// The alert, where it is one without an incident.
    pub alert_id: Option<Uuid>,
    /// Where more is shown of it.
    pub url: Option<String>,
}

/// What a notification says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Why it is sent.
    pub kind: NotificationKind,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// The problems, the most severe first; at most [`Notification::PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
    /// What they have in common, where several are notified together: `application shop`.
    pub group: Option<String>,
    /// Whether it leaves out problems of its group that people know of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_part: bool,
    /// One more line: which step of which policy, what a playbook did, which silence ended.
    pub remark: Option<String>,
}

impl Notification {
    /// The most problems that a notification names.
    pub const PROBLEMS: usize = 10;
}

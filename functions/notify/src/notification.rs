//! What a message says, before any channel has put it into its own words. It is stored with the message
//! (`notifications.content`), so that sending it again needs nothing else.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::model::{Category, Severity};
use uuid::Uuid;

/// Why people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationKind {
    /// Something is wrong that they did not know; or one more thing of a group.
    Firing,
    /// It is still wrong, and nobody has reacted.
    Repeat,
    /// Somebody is on it.
    Acknowledged,
    /// It is over.
    Resolved,
    /// Nobody has reacted in time, or it has become worse: these people should know too.
    Escalated,
    /// A playbook has run.
    Heal,
    /// What began and ended while a silence held.
    Summary,
    /// More has happened than anybody wants to read one by one.
    Digest,
}

impl NotificationKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Firing,
        Self::Repeat,
        Self::Acknowledged,
        Self::Resolved,
        Self::Escalated,
        Self::Heal,
        Self::Summary,
        Self::Digest,
    ];

    /// Whether it says that something is wrong, so that it has no sense any more once that is over.
    #[must_use]
    pub fn is_alarm(self) -> bool {
        matches!(self, Self::Firing | Self::Repeat | Self::Escalated | Self::Heal)
    }

    /// The spelling in columns and webhooks.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Repeat => "repeat",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Escalated => "escalated",
            Self::Heal => "heal",
            Self::Summary => "summary",
            Self::Digest => "digest",
        }
    }

    /// The kind of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where a problem stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemState {
    /// Nobody has reacted yet.
    Firing,
    /// Somebody is on it.
    Acknowledged,
    /// Over.
    Resolved,
}

/// One problem, as people should know it. All text is redacted already, and none of it is escaped: each channel does that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where it stands.
    pub state: ProblemState,
    /// One line.
    pub title: String,
    /// How bad it is.
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
    /// How many people met it; 0 = nobody knows.
    pub users: i64,
    /// Who has acknowledged or resolved it.
    pub handled_by: Option<String>,
    /// What was tried against it, oldest first.
    pub tried: Vec<String>,
    /// `INC-…`, where it is an incident.
    pub incident_id: Option<String>,
    /// The alert, where it is one without an incident.
    pub alert_id: Option<Uuid>,
    /// Where more is told of it.
    pub url: Option<String>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Why people are told.
    pub kind: NotificationKind,
    /// When it was decided to tell them.
    pub at: DateTime<Utc>,
    /// The problems, the worst first; at most [`Notification::PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
    /// What they have in common, where several are told together: `application shop`.
    pub group: Option<String>,
    /// Whether it tells of some of what is told together and leaves out others that people know of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_part: bool,
    /// One more line: which step of which policy, what a playbook did, which silence held.
    pub remark: Option<String>,
}

impl Notification {
    /// The most problems that a message names.
    pub const PROBLEMS: usize = 10;
}

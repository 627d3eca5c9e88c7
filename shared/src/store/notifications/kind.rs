//! Why a notification is sent: `notifications.kind`.

use serde::{Deserialize, Serialize};

/// Why a notification is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationKind {
    /// A new problem; or one more of a group.
    Firing,
    /// It is still open, and not acknowledged.
    Repeat,
    /// It was acknowledged.
    Acknowledged,
    /// It has ended.
    Resolved,
    /// It was not acknowledged in time, or its severity was raised: these receivers are added.
    Escalated,
    /// A playbook has run.
    Heal,
    /// The problems that began and ended in a silence.
    Summary,
    /// One notification in place of many that exceeded a rate limit.
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

    /// Whether it reports an open problem, so that it is obsolete once that has ended.
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

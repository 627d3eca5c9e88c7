//! Silences: an operator suppresses notifications of matching problems until a time.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Labels, Matchers};

/// Suppresses notifications of matching problems until it ends; problems that are still open then are notified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Silence {
    /// The row's id.
    pub id: Uuid,
    /// The problems that it mutes.
    pub matchers: Matchers,
    /// Its first instant.
    pub starts_at: DateTime<Utc>,
    /// The first instant after it.
    pub ends_at: DateTime<Utc>,
    /// The operator who made it.
    pub author: String,
    /// The reason.
    pub comment: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Silence {
    /// Whether it mutes this problem now.
    #[must_use]
    pub fn mutes(&self, labels: &Labels, now: DateTime<Utc>) -> bool {
        (self.starts_at..self.ends_at).contains(&now) && self.matchers.matches(labels, now)
    }
}

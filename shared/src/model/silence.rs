//! When nobody is told of some problems.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Labels, Matchers};

/// A time in which nobody is told of the problems that it means. What is still there when it ends is told then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Silence {
    /// Which.
    pub id: Uuid,
    /// What it means.
    pub matchers: Matchers,
    /// Its first instant.
    pub starts_at: DateTime<Utc>,
    /// The first instant after it.
    pub ends_at: DateTime<Utc>,
    /// Who made it.
    pub author: String,
    /// Why.
    pub comment: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Silence {
    /// Whether nobody is told of this problem now.
    #[must_use]
    pub fn mutes(&self, labels: &Labels, now: DateTime<Utc>) -> bool {
        (self.starts_at..self.ends_at).contains(&now) && self.matchers.matches(labels, now)
    }
}

//! Keyset pages of lists that show what is open first.
//!
//! Users: `incidents`, `alerts`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The place of a row in such a list: open before resolved, then the newest first, then the row's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Whether it is open.
    pub open: bool,
    /// What the list is ordered by.
    pub at: DateTime<Utc>,
    /// The row's id.
    pub id: Uuid,
}

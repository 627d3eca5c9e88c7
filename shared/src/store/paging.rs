//! Keyset pages of lists that show what is open first.
//!
//! Users: `incidents`, `alerts`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The highest rank: an open CRITICAL.
pub const MAX_RANK: i16 = 4;

/// The place of a row in such a list: the highest rank first, then the newest, then the row's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// 0 = resolved; of open rows 1 to [`MAX_RANK`], the most urgent highest.
    pub rank: i16,
    /// What the list is ordered by.
    pub at: DateTime<Utc>,
    /// The row's id.
    pub id: Uuid,
}

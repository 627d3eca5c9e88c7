//! The applications that may report with a DSN, and their quotas: the rate limit of what each may send.
//!
//! [`Directory::admit`] enforces quotas (rate limits) from what this process read at most 10 s ago and has counted
//! since (`ledger`, pure), so that an event costs no query: counts are flushed in batches, and each flush returns the
//! totals of all processes.
//!
//! - Within one process quotas are exact, also under concurrency.
//! - Across processes a quota may be exceeded by what each other process admits between two flushes: about 100 events,
//!   or those of a second where that is less.
//! - While the database is unavailable, only what the process knows to be invalid is refused; everything is counted.
//! - Nothing has to run in the background: a process that is frozen between two events loses nothing.
//!
//! Users: `sentry-envelope`, the local stack.

mod ledger;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use self::ledger::Ledger;
use crate::batches::Batch;
use crate::dsn::KeyVersion;
pub use crate::model::{Application, Quota};
use crate::store::quotas::{Counted, Window};
use crate::store::{Store, StoreError, applications, chain, quotas};

/// The admission decision for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Admitted and counted. None = the application could not be read in time; it is looked up later by its number.
    Admitted(Option<Application>),
    /// Refused.
    Refused(AdmissionRefusal),
}

/// Why an event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionRefusal {
    /// No application has this number.
    Unknown,
    /// The key was rotated, or its application removed.
    Revoked,
    /// The application exceeded a quota.
    OverQuota {
        /// The exceeded quota; of several the one with the longest window.
        scope: Quota,
        /// When its window ends.
        retry_after: Duration,
    },
}

/// Decides which events are admitted. Cheap to clone; clones share one ledger.
#[derive(Clone)]
pub struct Directory {
    store: Store,
    ledger: Arc<Mutex<Ledger>>,
    /// One refresh at a time, so that nothing is queried twice.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// The timeouts of a caller: for a known application, and for the first query of one.
    timeouts: [Duration; 2],
}

impl Directory {
    /// The longest that a caller waits for the database.
    const TIMEOUT: Duration = Duration::from_millis(100);
    /// The first query may have to connect.
    const FIRST_TIMEOUT: Duration = Duration::from_millis(300);
    /// The longest that the last flush of a process may take.
    const LAST_TIMEOUT: Duration = Duration::from_millis(500);

    /// A directory of this store's applications.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, ledger: Arc::default(), lock: Arc::default(), timeouts: [Self::TIMEOUT, Self::FIRST_TIMEOUT] }
    }

    /// The same, with this timeout for the database.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeouts: [timeout; 2], ..self }
    }

    /// Decides whether one event with this key version, which is verified already, is admitted now; if so, counts it.
    /// Never fails its caller, and waits for the database only when a read or flush is due.
    pub async fn admit(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) -> Admission {
        self.refresh(project, version, now).await;
        self.ledger().decide(project, version, now)
    }

    /// Counts a decompression bomb that came with the application's key.
    pub fn charge_bomb(&self, project: i64, now: DateTime<Utc>) {
        self.ledger().charge_bomb(project, now);
    }

    /// Flushes counts that are older than a second, for a server that calls this each second, so that no event has to
    /// wait for the flush.
    ///
    /// # Errors
    /// Any store error. Counts that could not be flushed are retried.
    pub async fn write_counts(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if !self.ledger().is_flush_due(now) {
            return Ok(());
        }
        let _lock = self.lock.lock().await;
        let written = self.flush_due(now).await;
        if written.is_err() {
            self.ledger().counted.mark_unavailable(now);
        }
        written
    }

    /// The application of a key, if it could be read in time, for items without a quota. Counts nothing.
    ///
    /// # Errors
    /// When the key is refused; never because of a quota.
    pub async fn recognise(
        &self,
        project: i64,
        version: KeyVersion,
        now: DateTime<Utc>,
    ) -> Result<Option<Application>, AdmissionRefusal> {
        self.refresh(project, version, now).await;
        self.ledger().recognise(project, version, now)
    }

    /// Reads and flushes what is due, within the caller's timeout.
    async fn refresh(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) {
        let (is_due, timeout) = {
            let ledger = self.ledger();
            let is_due = ledger.is_read_due(project, version, now) || ledger.is_flush_due(now);
            (is_due, self.timeouts[usize::from(!ledger.knows(project))])
        };
        if is_due {
            let this = self.clone();
            // A separate task: the caller's timeout does not cancel it.
            let task = tokio::spawn(async move { this.run_due(project, version, now).await });
            if tokio::time::timeout(timeout, task).await.is_err() {
                self.ledger().counted.mark_unavailable(now);
            }
        }
    }

    /// Flushes all counts: the process is about to end.
    pub async fn flush(&self) {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _lock = this.lock.lock().await;
            // A batch that could not be flushed before goes first, on its own.
            while let Some(batch) = { this.ledger().batch() } {
                if this.write(&batch).await.is_err() {
                    break;
                }
            }
        });
        if tokio::time::timeout(Self::LAST_TIMEOUT, task).await.is_err() {
            tracing::warn!("the last quota counts were not flushed in time");
        }
    }

    /// Reads and flushes what is still due once the lock is acquired: another task may have done it.
    async fn run_due(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) {
        let _lock = self.lock.lock().await;
        let done = self.flush_due(now).await.and(self.read_due(project, version, now).await);
        if let Err(error) = done {
            tracing::warn!(error = %chain(&error), "quotas could not be read or flushed; events are admitted nevertheless");
            self.ledger().counted.mark_unavailable(now);
        }
    }

    async fn flush_due(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if !self.ledger().is_flush_due(now) {
            return Ok(());
        }
        let batch = self.ledger().batch();
        match batch {
            Some(batch) => self.write(&batch).await,
            None => Ok(()),
        }
    }

    async fn write(&self, batch: &Batch<Window, Counted>) -> Result<(), StoreError> {
        let (id, counts) = (batch.id, batch.counts.as_slice());
        let totals = self.store.run(|client| async move { quotas::add(&client, id, counts).await }).await;
        let mut ledger = self.ledger();
        match &totals {
            Ok(totals) => {
                ledger.confirm(totals);
                ledger.counted.mark_available();
            }
            Err(error) if error.is_transient() => ledger.counted.mark_unconfirmed(),
            // A permanent error would repeat: this batch is dropped, so that later ones are not blocked.
            Err(_) => ledger.confirm(&[]),
        }
        totals.map(drop)
    }

    async fn read_due(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) -> Result<(), StoreError> {
        if !self.ledger().is_read_due(project, version, now) {
            return Ok(());
        }
        let found =
            self.store.run(|client| async move { applications::find_usage(&client, project, now).await }).await?;
        let mut ledger = self.ledger();
        ledger.read(project, found, now);
        ledger.counted.mark_available();
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

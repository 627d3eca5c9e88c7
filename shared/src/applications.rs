//! The applications that may report with a DSN, and how much each may send.
//!
//! [`Directory::admit`] decides on what this process has read at most 10 s ago and what it has counted itself since
//! (`ledger`, pure), so that an event costs no query: counts are written in batches, and each batch brings back what
//! all processes have counted together.
//!
//! - Within one process quotas are exact, however many ask at once.
//! - Among processes a quota may be passed by what each of the others takes in between two of its batches: about 100
//!   events, or a second's where that is less.
//! - With the database away nothing is refused that the process does not know to be wrong; it is counted all the same.
//! - Nothing runs in the background that somebody must wait for: a process that is frozen between two events loses
//!   nothing.
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
    ledger: Arc<Mutex<Ledger>>,
    /// Who reads or writes: one at a time, so that nothing is asked twice.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How long a caller waits: for an application that is known, and for a first look at one.
    patience: [Duration; 2],
}

impl Directory {
    /// Nobody waits longer than this for a database that was there a moment ago.
    const PATIENCE: Duration = Duration::from_millis(100);
    /// A first look may have to connect.
    const FIRST_PATIENCE: Duration = Duration::from_millis(300);
    /// The last counts of a process that is about to end may take this long.
    const LAST_PATIENCE: Duration = Duration::from_millis(500);

    /// A directory of this store's applications.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, ledger: Arc::default(), turn: Arc::default(), patience: [Self::PATIENCE, Self::FIRST_PATIENCE] }
    }

    /// The same, with callers that wait this long for the database.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: [patience; 2], ..self }
    }

    /// Whether one event with this key version may come in now; if so, it is counted. The key itself is verified
    /// already. Never fails its caller, and waits for the database only when something has to be read or written.
    pub async fn admit(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) -> Admission {
        self.look(project, version, now).await;
        self.ledger().decide(project, version, now)
    }

    /// Counts a decompression bomb that came with the application's key.
    pub fn charge_bomb(&self, project: i64, now: DateTime<Utc>) {
        self.ledger().charge_bomb(project, now);
    }

    /// Writes down what was counted more than a second ago, for a server that has a moment each second: nobody has to wait
    /// for the next event then.
    ///
    /// # Errors
    /// Any store error. What could not be written is written later.
    pub async fn write_counts(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if !self.ledger().is_to_be_written(now) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let written = self.write_what_is_due(now).await;
        if written.is_err() {
            self.ledger().counted.mark_away(now);
        }
        written
    }

    /// Whose key this is, if the database could be asked in time, for what no quota is for. Counts nothing.
    ///
    /// # Errors
    /// When the key is refused; never for a quota.
    pub async fn recognise(
        &self,
        project: i64,
        version: KeyVersion,
        now: DateTime<Utc>,
    ) -> Result<Option<Application>, Refusal> {
        self.look(project, version, now).await;
        self.ledger().recognise(project, version, now)
    }

    /// Reads and writes what is due, as long as a caller may wait.
    async fn look(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) {
        let (is_behind, patience) = {
            let ledger = self.ledger();
            let is_behind = ledger.is_to_be_read(project, version, now) || ledger.is_to_be_written(now);
            (is_behind, self.patience[usize::from(!ledger.knows(project))])
        };
        if is_behind {
            let this = self.clone();
            // A task of its own: what was begun is not broken off with the caller's patience.
            let task = tokio::spawn(async move { this.catch_up(project, version, now).await });
            if tokio::time::timeout(patience, task).await.is_err() {
                self.ledger().counted.mark_away(now);
            }
        }
    }

    /// Writes down what was counted: the process is about to end.
    pub async fn flush(&self) {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            // Twice: what could not be written before goes first, by itself.
            while let Some(batch) = { this.ledger().batch() } {
                if this.write(&batch).await.is_err() {
                    break;
                }
            }
        });
        if tokio::time::timeout(Self::LAST_PATIENCE, task).await.is_err() {
            tracing::warn!("the last counts of quotas were not written in time");
        }
    }

    /// Does what is due, unless somebody else has done it while we waited for our turn.
    async fn catch_up(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) {
        let _turn = self.turn.lock().await;
        let done = self.write_what_is_due(now).await.and(self.read_what_is_due(project, version, now).await);
        if let Err(error) = done {
            tracing::warn!(error = %chain(&error), "quotas could not be read or written; events are taken all the same");
            self.ledger().counted.mark_away(now);
        }
    }

    async fn write_what_is_due(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if !self.ledger().is_to_be_written(now) {
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
                ledger.arrived(totals);
                ledger.counted.mark_back();
            }
            Err(error) if error.is_transient() => ledger.counted.mark_lost(),
            // A defect, which would be the same each time: better a count that lacks than all that come after it.
            Err(_) => ledger.arrived(&[]),
        }
        totals.map(drop)
    }

    async fn read_what_is_due(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) -> Result<(), StoreError> {
        if !self.ledger().is_to_be_read(project, version, now) {
            return Ok(());
        }
        let found =
            self.store.run(|client| async move { applications::find_usage(&client, project, now).await }).await?;
        let mut ledger = self.ledger();
        ledger.read(project, found, now);
        ledger.counted.mark_back();
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

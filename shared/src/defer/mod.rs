//! A safe place for what is authentic and not sent again, while the database is slow or unavailable: it is stored later, with
//! the time at which it came and under the same delivery key.
//!
//! - [`Deferred`]: what is kept: reports, steps in an incident's life, check-ins, heartbeats.
//! - [`Deferral`]: store it within the budget, else keep it. [`Allowance`]: how many unverified records.
//! - [`bus`]: the place, an event `ReportDeferred` that goes to a queue, from which `replay` reads.
//! - [`packing`]: records as an event's detail, and back. [`json`]: how deep that may be nested.
//! - [`settle`]: the way back, into the database.
//!
//! Users: `intake`, `sentry-webhook`, `sentry-envelope`, `heartbeat`, `replay`, the local stack.

mod allowance;
pub mod bus;
pub mod json;
pub mod packing;
mod record;
pub mod settle;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Client;

pub use self::allowance::Allowance;
pub use self::record::{Deferred, DeferredBeat, DeferredStep};
use crate::store::{Store, StoreError, chain};

/// Keeps records until the database takes them.
pub trait Defer: Send + Sync {
    /// Returns when the records are safe: they survive a crash of this process and are stored later.
    ///
    /// # Errors
    /// When they are not all safe: the caller must not get another answer. Some may be stored later all the same, which
    /// is harmless: each can be stored twice and counts once.
    fn defer<'a>(
        &'a self,
        records: &'a [Deferred],
    ) -> Pin<Box<dyn Future<Output = Result<(), DeferError>> + Send + 'a>>;
}

/// Why records could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum DeferError {
    /// The place takes nothing now: try again later.
    #[error("nothing can be deferred now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This record does not fit.
    #[error("the record has {bytes} bytes, more than the {limit} that can be deferred")]
    TooLarge {
        /// Its size, as it would be kept.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
}

/// What became of something that was given to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept<T> {
    /// It is committed; this is the answer.
    Stored(T),
    /// It waits in a safe place.
    Deferred,
}

/// A function's place of deferral, if it has one, and how long the database gets before it is used. Cheap to clone.
#[derive(Clone)]
pub struct Deferral {
    place: Option<Arc<dyn Defer>>,
    budget: Duration,
}

impl Deferral {
    /// Without a place what is not stored within this time is refused.
    #[must_use]
    pub fn without_place(budget: Duration) -> Self {
        Self { place: None, budget }
    }

    /// What is not stored within this time is kept at this place.
    #[must_use]
    pub fn to(place: Arc<dyn Defer>, budget: Duration) -> Self {
        Self { place: Some(place), budget }
    }

    /// The same place, after another time; without a place, as it is.
    #[must_use]
    pub fn with_budget(self, budget: Duration) -> Self {
        if self.place.is_some() { Self { budget, ..self } } else { self }
    }

    /// Keeps a record at once, where the database has just not answered.
    ///
    /// # Errors
    /// When the record could not be kept, or there is no place.
    pub async fn keep(&self, record: Deferred) -> Result<(), DeferError> {
        let place = self.place.as_ref().ok_or_else(|| DeferError::Unavailable("there is no place for it".into()))?;
        place.defer(&[record]).await
    }

    /// Runs an operation as [`Store::run_within`] does; when the database does not take it in time, or can't, defers
    /// `otherwise` instead, if that is something. The operation may have been carried out all the same, so it must be
    /// harmless to repeat.
    ///
    /// # Errors
    /// When the database refuses the values; when it is unavailable and the record could not be deferred.
    pub async fn store<T, F, O>(
        &self,
        store: &Store,
        operation: O,
        otherwise: impl FnOnce() -> Option<Deferred>,
    ) -> Result<Kept<T>, StoreError>
    where
        O: Fn(Arc<Client>) -> F,
        F: Future<Output = Result<T, StoreError>>,
    {
        let error = match store.run_within(self.budget, operation).await {
            Ok(stored) => return Ok(Kept::Stored(stored)),
            Err(error) => error,
        };
        let place = self.place.as_ref().filter(|_| !matches!(error, StoreError::Data(_)));
        let Some((place, record)) = place.and_then(|place| Some((place, otherwise()?))) else { return Err(error) };
        let kind = record.kind();
        tracing::warn!(error = %chain(&error), "a {kind} is kept for later");
        match place.defer(&[record]).await {
            Ok(()) => Ok(Kept::Deferred),
            Err(not_deferred) => {
                tracing::error!(error = %chain(&not_deferred), "a {kind} could neither be stored nor kept for later");
                Err(error)
            }
        }
    }
}

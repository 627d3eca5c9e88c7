//! A safe place for reports while the database is away: they are stored later, under the same delivery keys.
//!
//! Users: `intake`; the bus (on Lambda) and the local stack's journal are such places.

use std::future::Future;
use std::pin::Pin;

use crate::model::Report;

/// Keeps reports until the database takes them.
pub trait Defer: Send + Sync {
    /// Returns when the reports are safe: they survive a crash of this process and are stored later.
    ///
    /// # Errors
    /// When they are not safe: the caller must not be told otherwise.
    fn defer<'a>(&'a self, reports: &'a [Report]) -> Pin<Box<dyn Future<Output = Result<(), DeferError>> + Send + 'a>>;
}

/// Why reports could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum DeferError {
    /// The place takes nothing now: try again later.
    #[error("reports can't be deferred now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This report does not fit.
    #[error("the report has {bytes} bytes, more than the {limit} that can be deferred")]
    TooLarge {
        /// Its size, as it would be kept.
        bytes: usize,
        /// What fits.
        limit: usize,
    },
}

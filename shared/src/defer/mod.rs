//! A safe place for reports while the database is away: they are stored later, under the same delivery keys.
//!
//! - [`bus`]: the place on Lambda, an event `ReportDeferred` that goes to a queue, from which `replay` reads. (The
//!   local stack has a journal of its own.)
//! - [`packing`]: reports as an event's detail, and back. [`json`]: how deep that may be nested.
//! - [`settle`]: the way back, into the database.
//!
//! Users: `intake`, `replay`, the local stack.

#[cfg(feature = "publish")]
pub mod bus;
pub mod json;
#[cfg(feature = "publish")]
pub mod packing;
#[cfg(feature = "publish")]
pub mod settle;

use std::future::Future;
use std::pin::Pin;

use crate::model::Report;

/// Keeps reports until the database takes them.
pub trait Defer: Send + Sync {
    /// Returns when the reports are safe: they survive a crash of this process and are stored later.
    ///
    /// # Errors
    /// When they are not all safe: the caller must not be told otherwise. Some may be stored later all the same, which
    /// is harmless: a report that is sent again under its delivery key counts once.
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

//! The embedded Postgres as its callers see it: kept data, restarts, leftovers, awkward places.
//!
//! - [`server`]: starts and stops one, and looks at it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]
#![expect(clippy::print_stderr, reason = "a test says how long things took")]

mod kept;
mod killed;
mod places;
mod refused;
mod server;
mod takeover;

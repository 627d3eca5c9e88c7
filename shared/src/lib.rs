//! What two or more functions share: the vocabulary, the pure decisions, the store and the process edge.
//!
//! An error's journey through this crate:
//! 1. a function parses a request into a [`model::Report`] (every length and character made storable);
//! 2. [`intake::Intake::record`] gives it a [`fingerprint::Fingerprint`] and a [`classify::Classification`];
//! 3. [`store::reports`] writes delivery, incident, audit row and event in one statement.
//!
//! 4. [`publish`] tells the bus of a new incident, before the caller has its answer.
//!
//! While the database is away, [`defer`] keeps the report in a safe place and brings it back to step 2.
//!
//! `model` imports nothing of ours; `redact`, `classify`, `fingerprint` and `sentry_event` are pure over it; `events` and
//! `store` know `model`; `intake` uses all of them; `config`, `telemetry`, `http`, `gateway` and `tls` know no domain.
//! SQL stands only in `store`, `std::env` only in `config`; the clock is read at the edge and passed in.

pub mod address;
pub mod applications;
pub mod back_off;
mod batches;
#[cfg(feature = "publish")]
pub mod bus;
pub mod classify;
pub mod config;
pub mod counters;
pub mod defer;
pub mod dsn;
pub mod events;
pub mod fingerprint;
pub mod gateway;
pub mod heartbeat;
pub mod http;
#[cfg(feature = "publish")]
pub mod intake;
pub mod model;
#[cfg(feature = "publish")]
pub mod publish;
pub mod redact;
pub mod security;
pub mod sentry_event;
pub mod signature;
pub mod slack_buttons;
pub mod store;
pub mod telemetry;
pub mod tls;

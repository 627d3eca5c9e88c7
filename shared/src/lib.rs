//! Code that two or more functions share: domain types, pure decisions, the store, configuration and HTTP.
//!
//! The path of an error report through this crate:
//! 1. a function parses a request into a [`model::Report`] whose lengths and characters are storable;
//! 2. [`intake::Intake::record`] assigns a [`fingerprint::Fingerprint`] and a [`classify::Classification`];
//! 3. [`store::reports`] writes delivery, incident, audit row and event in one statement.
//! 4. [`publish`] puts the event of a new incident on the bus, before the caller has its answer.
//!
//! While the database is unavailable, [`defer`] stores the report elsewhere and replays it from step 2.
//!
//! `model` imports nothing of ours; `redact`, `classify`, `fingerprint` and `sentry_event` are pure over it; `events` and
//! `store` know `model`; `intake` uses all of them; `config`, `telemetry`, `http`, `gateway` and `tls` know no domain.
//! SQL stands only in `store`, `std::env` only in `config`; the clock is read at the edge and passed in.

pub mod address;
pub mod applications;
pub mod back_off;
mod batches;
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
pub mod intake;
pub mod model;
pub mod publish;
pub mod redact;
pub mod security;
pub mod sentry_event;
pub mod signature;
pub mod slack_buttons;
pub mod store;
pub mod telemetry;
pub mod tls;

//! `notification_*` and `notifications`: who was told of what, and what became of each message.
//!
//! What is to be told is decided under the lock of a group ([`groups`]), in one short transaction that begins with
//! [`groups::lock`]; messages are rows before they are sent ([`deliveries`]).
//!
//! Users: `notify`, the operator's tool.

mod list;

pub use list::{Filter, Listed, Replay, list, replay};

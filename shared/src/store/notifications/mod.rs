//! `notification_*` and `notifications`: who was told of what, and what became of each message.
//!
//! What is to be told is decided under the lock of a group ([`groups`]), in one short transaction in which what it is about is
//! read ([`subjects`]) and messages are stored ([`queue`]). They are sent by whoever claims them, under the lock of their
//! receiver ([`receivers`]); what becomes of each is written at once ([`outcomes`]).
//!
//! Users: `notify`, the operator's tool.

pub mod due;
pub mod escalation;
pub mod groups;
pub mod informed;
mod list;
pub mod mutes;
pub mod outcomes;
pub mod queue;
pub mod receivers;
pub mod settings;
pub mod standing;
pub mod subjects;

pub use list::{Filter, Listed, Replay, list, replay};

//! `notification_*` and `notifications`: what was notified to which receiver, and the result of each delivery.
//!
//! What to notify is decided under the lock of a group ([`groups`], [`members`]), in one short transaction that also reads the
//! subject ([`subjects`]) and stores the notifications ([`queue`]). They are sent by the run that claims them, under the lock of
//! their receiver ([`receivers`]); the result of each attempt is written at once ([`outcomes`]).
//!
//! Users: `notify`, the operator's tool.

pub mod escalation;
pub mod groups;
pub mod informed;
mod kind;
mod list;
pub mod members;
pub mod mutes;
pub mod outcomes;
pub mod queue;
pub mod receivers;
pub mod settings;
pub mod stale;
pub mod subjects;

pub use kind::NotificationKind;
pub use list::{Filter, Listed, Replay, list, replay};
pub use members::ProblemState;

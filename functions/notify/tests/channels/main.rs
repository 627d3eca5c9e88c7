//! Each channel against a server of its own, with the vendors' documented answers: what is sent, field by field, and what
//! is made of each answer.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod config;
mod messages;
mod slack_webhook;
mod vendor;
mod webhook;

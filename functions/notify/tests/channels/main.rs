//! Each channel against a server of its own, with the vendors' documented answers: what is sent, field by field, and what
//! is made of each answer.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod config;
mod discord;
mod hostile;
mod mail_server;
mod messages;
mod pagerduty;
mod sendgrid;
mod slack_bot;
mod slack_webhook;
mod sms;
mod smtp;
mod vendor;
mod webhook;

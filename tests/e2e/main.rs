//! The end-to-end tests: real HTTP, a real Postgres, the handlers that the Lambdas run. Folders mirror the routes.
#![expect(clippy::unwrap_used, reason = "tests")]

mod admin;
mod applications;
mod bus;
mod cross_site;
mod deferral;
mod dispatch;
mod email_events;
mod envelope;
mod escalation;
mod events;
mod heartbeat;
mod lambda;
mod maintain;
mod notify;
mod operators;
mod operators_gateway;
mod outbox;
mod pagerduty_events;
mod probe;
mod probe_checks;
mod probe_decisions;
mod publish;
mod redaction;
mod report_error;
mod security;
mod sentry;
mod services;
mod slack_actions;
mod status;
mod switches;

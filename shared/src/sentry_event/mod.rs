//! A Sentry event as a [`Report`]. Pure.
//!
//! Events come in two spellings: as SDKs send them, and as Sentry's webhooks repeat them. Any field may be missing, null
//! or of another type, and none of that is an error. What tells who somebody is stays out, but for a hash of it.
//! Application and upstream group are the caller's to set, and which events are errors at all.
//!
//! Users: `sentry-webhook`, `sentry-envelope`.

mod fields;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use fields::{id, items, tag, text};

use crate::model::{DeliveryKey, Report, Severity};

/// The report of an event; none when it is no JSON object.
#[must_use]
pub fn report(event: &Value, key: DeliveryKey, source: &str, now: DateTime<Utc>) -> Option<Report> {
    event.is_object().then(|| Report::new(key, source, "an event without a message".to_owned(), now))
}

/// How Sentry's level bears on the severity.
pub fn apply_level(report: &mut Report, level: &str) {
    match level {
        "fatal" => report.severity = Some(Severity::Critical),
        "error" => report.at_least = Some(Severity::Medium),
        _ => {}
    }
    report.context.insert("level".to_owned(), level.into());
}

//! Converts a Sentry event to a [`Report`]. Pure.
//!
//! Two formats: as SDKs send events, and as Sentry's webhooks repeat them. Any field may be missing, null or of another
//! type, without an error. Identities of users are dropped, except for a hash; the rest is bounded, and redacted later,
//! with the whole report. The caller decides which events are errors, and sets application and upstream group.
//!
//! Users: `sentry-webhook`, `sentry-envelope`.

mod details;
mod endpoint;
mod exception;
mod fields;
mod message;
mod stack;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use fields::{id, items, tag, text};

use crate::fingerprint::MESSAGE_TEMPLATE;
use crate::model::{DeliveryKey, Report, Severity, UserKey};
use exception::Exceptions;
use fields::{first_bytes, part, said, scalar};
use message::LogMessage;

/// Bytes kept of a value with its own column; the column may be narrower.
const VALUE: usize = 500;

/// Bytes of JSON for a log message that accompanies an exception.
const LOGGED: usize = 4_000;

/// Limits of a reporter's own grouping: parts, and bytes of each.
const FINGERPRINT_PARTS: usize = 32;
const FINGERPRINT_PART: usize = 1_000;

/// The report of an event; none if it is no JSON object.
#[must_use]
pub fn report(event: &Value, key: DeliveryKey, source: &str, now: DateTime<Utc>) -> Option<Report> {
    if !event.is_object() {
        return None;
    }
    let value = |text: &str| first_bytes(text, VALUE).to_owned();
    let exceptions = Exceptions::of(event);
    let raised = exceptions.raised();
    let logged = LogMessage::of(event);
    let mut report = Report::new(key, source, message::message(event, raised, logged.as_ref()), now);
    report.title = text(event, "title").map(value);
    report.error_type = said(raised, "type").as_deref().or_else(|| text(part(event, "metadata"), "type")).map(value);
    report.stack = stack::text(event, &exceptions);
    report.crash_frame = stack::crash_frame(event, &exceptions);
    report.client_fingerprint = client_fingerprint(event);
    report.environment = text(event, "environment")
        .map(value)
        .or_else(|| tag(event, "environment").map(|tag| value(&tag)))
        .unwrap_or_default();
    report.release = details::release(event).map(|release| value(&release));
    report.user = user(event);
    report.endpoint = endpoint::endpoint(event);
    report.context = details::of(event, raised);
    if let Some(logged) = logged {
        keep_logged(&mut report, &logged);
    }
    apply_level(&mut report, level(event).as_deref().unwrap_or("error"));
    Some(report)
}

/// Applies Sentry's level: `fatal` is CRITICAL, `error` at least MEDIUM; the built-in rules give `warning` at most
/// MEDIUM, and lower levels at most LOW. An unknown level counts as `error`, as in Sentry. A second call overrides the
/// first.
pub fn apply_level(report: &mut Report, level: &str) {
    let level = level.trim().to_ascii_lowercase();
    (report.severity, report.at_least, report.at_most) = match level.as_str() {
        "fatal" | "critical" => (Some(Severity::Critical), None, None),
        "warning" | "warn" => (None, None, Some(Severity::Medium)),
        "info" | "log" | "notice" | "debug" | "trace" | "verbose" | "sample" => (None, None, Some(Severity::Low)),
        _ => (None, Some(Severity::Medium), None),
    };
    report.context.insert("level".to_owned(), details::cut(&level, 64));
}

/// The level; Python's logging uses numbers.
fn level(event: &Value) -> Option<String> {
    let level = event.get("level")?;
    let number = level.as_f64().or_else(|| level.as_str()?.trim().parse().ok());
    match number.filter(|number| number.is_finite()) {
        Some(50.0..) => Some("fatal".to_owned()),
        Some(40.0..) => Some("error".to_owned()),
        Some(30.0..) => Some("warning".to_owned()),
        Some(20.0..) => Some("info".to_owned()),
        Some(_) => Some("debug".to_owned()),
        None => text(event, "level").map(str::to_owned),
    }
}

/// Keeps the log message if it differs from the report's message, else its template.
fn keep_logged(report: &mut Report, logged: &LogMessage<'_>) {
    if report.message != logged.text {
        report.keep_in_context("log_message", details::cut(&logged.text, LOGGED));
    } else if let Some(template) = logged.template {
        report.keep_in_context(MESSAGE_TEMPLATE, details::cut(template, LOGGED));
    }
}

/// The reporter's own grouping: a list of texts, in some SDKs one text.
fn client_fingerprint(event: &Value) -> Vec<String> {
    let fingerprint = event.get("fingerprint").unwrap_or(&Value::Null);
    let alone = fingerprint.as_str().map(|_| fingerprint);
    let parts = fingerprint.as_array().into_iter().flatten().chain(alone).filter_map(scalar);
    parts.take(FINGERPRINT_PARTS).map(|part| first_bytes(&part, FINGERPRINT_PART).to_owned()).collect()
}

/// The affected user, by the best identity given.
fn user(event: &Value) -> Option<UserKey> {
    let user = part(event, "user");
    // An SDK that does not know the address sends a placeholder.
    let given = |name: &&str| id(user, name).filter(|id| !id.starts_with("{{")).map(|id| ((*name).to_owned(), id));
    let of_object = ["id", "email", "username", "ip_address"].iter().find_map(given);
    // Sentry repeats it as a tag such as `email:ann@example.com`.
    let of_tag = || {
        let tag = tag(event, "user")?;
        let (kind, value) = tag.split_once(':')?;
        let kind = if kind == "ip" { "ip_address" } else { kind };
        Some((kind.to_owned(), value.trim().to_owned())).filter(|(_, value)| !value.is_empty())
    };
    let (kind, identity) = of_object.or_else(of_tag)?;
    Some(UserKey::of(&kind, &identity))
}

//! `error.created` and `event_alert.triggered`: a whole event.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::model::{DeliveryKey, Report, UpstreamGroup};
use shared::sentry_event;

use super::{Meaning, SOURCE, delivery_key, keep, project_slug};
use crate::payload::{id, text};

/// An event is an error. `error` and `event_alert` of one event have the same delivery key.
pub(super) fn meaning(event: &Value, now: DateTime<Utc>) -> Meaning {
    match report(event, key(event), now) {
        Some(report) => Meaning::Report(Box::new(report), None),
        None => Meaning::Ignored("the delivery contains no event"),
    }
}

/// The delivery key that all signed deliveries of this event share.
pub(super) fn key(event: &Value) -> DeliveryKey {
    delivery_key("event", named(event).as_deref(), event)
}

/// Identifies the event: its id is unique only within its project.
pub(super) fn named(event: &Value) -> Option<String> {
    id(event, "event_id").map(|event_id| format!("{}/{event_id}", id(event, "project").unwrap_or_default()))
}

/// The report of an event; none when it is not an object.
pub(super) fn report(event: &Value, key: DeliveryKey, now: DateTime<Utc>) -> Option<Report> {
    let mut report = sentry_event::report(event, key, SOURCE, now)?;
    report.application = application(event);
    let issue_id = id(event, "issue_id");
    keep(&mut report, "sentry_issue_id", issue_id.as_deref().unwrap_or_default());
    report.upstream_group = issue_id.map(|id| UpstreamGroup { system: SOURCE.into(), id });
    let link = text(event, "web_url").or_else(|| text(event, "issue_url")).or_else(|| text(event, "url"));
    keep(&mut report, "sentry_url", link.unwrap_or_default());
    Some(report)
}

fn application(event: &Value) -> String {
    let slug = ["url", "web_url"].iter().find_map(|name| project_slug(text(event, name)?));
    let named = || text(event, "project_slug").map(str::to_owned);
    let numbered = || id(event, "project").map(|id| format!("sentry-project-{id}"));
    slug.or_else(named).or_else(numbered).unwrap_or_default()
}

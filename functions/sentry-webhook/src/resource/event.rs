//! `error.created` and `event_alert.triggered`: a whole event.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::model::UpstreamGroup;
use shared::sentry_event;

use super::{Meaning, SOURCE, delivery_key, keep, project_slug};
use crate::payload::{id, text};

/// The report of an event.
pub(super) fn report(event: &Value, now: DateTime<Utc>) -> Meaning {
    // An event's id is unique in its project only.
    let event_id =
        id(event, "event_id").map(|event_id| format!("{}/{event_id}", id(event, "project").unwrap_or_default()));
    let key = delivery_key("event", event_id.as_deref(), event);
    let Some(mut report) = sentry_event::report(event, key, SOURCE, now) else {
        return Meaning::Ignored("the delivery holds no event");
    };
    report.application = application(event);
    let issue_id = id(event, "issue_id");
    keep(&mut report, "sentry_issue_id", issue_id.as_deref().unwrap_or_default());
    report.upstream_group = issue_id.map(|id| UpstreamGroup { system: SOURCE.into(), id });
    let link = text(event, "web_url").or_else(|| text(event, "issue_url")).or_else(|| text(event, "url"));
    keep(&mut report, "sentry_url", link.unwrap_or_default());
    Meaning::Report(Box::new(report))
}

fn application(event: &Value) -> String {
    let slug = ["url", "web_url"].iter().find_map(|name| project_slug(text(event, name)?));
    let named = || text(event, "project_slug").map(str::to_owned);
    let numbered = || id(event, "project").map(|id| format!("sentry-project-{id}"));
    slug.or_else(named).or_else(numbered).unwrap_or_default()
}

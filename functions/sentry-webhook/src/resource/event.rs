//! `error.created` and `event_alert.triggered`: a whole event.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use shared::model::{Report, UpstreamGroup};

use super::{Meaning, SOURCE, apply_level, delivery_key, keep, project_slug, stack};
use crate::payload::{id, items, text};

/// What the context keeps at most of an event's tags.
const TAGS: usize = 50;

/// The report of an event.
pub(super) fn report(event: &Value, now: DateTime<Utc>) -> Meaning {
    if !event.is_object() {
        return Meaning::Ignored("the delivery holds no event");
    }
    let exception = event.get("exception").unwrap_or(&Value::Null);
    // The last one is the outermost raised.
    let raised = items(exception, "values").rfind(|value| value.is_object()).unwrap_or(&Value::Null);
    // An event's id is unique in its project only.
    let event_id =
        id(event, "event_id").map(|event_id| format!("{}/{event_id}", id(event, "project").unwrap_or_default()));
    let key = delivery_key("event", event_id.as_deref(), event);
    let mut report = Report::new(key, SOURCE, message(event, raised), now);
    report.title = text(event, "title").map(str::to_owned);
    report.error_type = text(raised, "type").or_else(|| metadata(event, "type")).map(str::to_owned);
    report.stack = stack::text(exception);
    report.application = application(event);
    report.environment = environment(event).unwrap_or_default().to_owned();
    report.upstream_group = id(event, "issue_id").map(|id| UpstreamGroup { system: SOURCE.into(), id });
    keep_details(&mut report, event);
    apply_level(&mut report, text(event, "level").unwrap_or("error"));
    Meaning::Report(Box::new(report))
}

/// `Type: value` of the exception, else the event's own message, else its title.
fn message(event: &Value, raised: &Value) -> String {
    let of_exception = match (text(raised, "type"), text(raised, "value")) {
        (Some(kind), Some(value)) if !value.starts_with(kind) => Some(format!("{kind}: {value}")),
        (kind, value) => value.or(kind).map(str::to_owned),
    };
    let logentry = event.get("logentry").unwrap_or(&Value::Null);
    of_exception
        .or_else(|| {
            let told =
                text(event, "message").or_else(|| text(logentry, "formatted")).or_else(|| text(logentry, "message"));
            told.or_else(|| text(event, "title")).map(str::to_owned)
        })
        .unwrap_or_else(|| "an event without a message".to_owned())
}

fn metadata<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    event.get("metadata").and_then(|metadata| text(metadata, name))
}

fn application(event: &Value) -> String {
    let slug = ["url", "web_url"].iter().find_map(|name| project_slug(text(event, name)?));
    let named = || text(event, "project_slug").map(str::to_owned);
    let numbered = || id(event, "project").map(|id| format!("sentry-project-{id}"));
    slug.or_else(named).or_else(numbered).unwrap_or_default()
}

fn environment(event: &Value) -> Option<&str> {
    text(event, "environment").or_else(|| tag(event, "environment"))
}

/// A tag's value: tags are a list of pairs, in older events with the prefix `sentry:`.
fn tag<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    pairs(event).find(|(key, _)| key.strip_prefix("sentry:").unwrap_or(key) == name).map(|(_, value)| value)
}

fn pairs(event: &Value) -> impl Iterator<Item = (&str, &str)> {
    items(event, "tags").filter_map(|pair| match pair.as_array()?.as_slice() {
        [Value::String(key), Value::String(value)] => Some((key.as_str(), value.as_str())),
        _ => None,
    })
}

/// Whether a tag tells who somebody is.
fn is_personal(key: &str) -> bool {
    ["user", "ip", "email"]
        .iter()
        .any(|word| key == *word || key.starts_with(&format!("{word}.")) || key.starts_with(&format!("{word}_")))
}

/// An address without its query and fragment, where secrets stand; any other text as it is.
fn without_query(value: &str) -> &str {
    if value.contains("://") { value.split(['?', '#']).next().unwrap_or(value) } else { value }
}

fn keep_details(report: &mut Report, event: &Value) {
    let tags: Map<String, Value> = pairs(event)
        .map(|(key, value)| (key.strip_prefix("sentry:").unwrap_or(key), value))
        .filter(|(key, _)| !is_personal(key))
        .take(TAGS)
        .map(|(key, value)| (key.to_owned(), Value::from(without_query(value))))
        .collect();
    if !tags.is_empty() {
        report.context.insert("tags".to_owned(), Value::Object(tags));
    }
    let release = text(event, "release").or_else(|| tag(event, "release")).unwrap_or_default();
    keep(report, "release", release);
    for name in ["platform", "culprit", "transaction", "datetime"] {
        keep(report, name, text(event, name).unwrap_or_default());
    }
    for (name, id) in [("sentry_event_id", id(event, "event_id")), ("sentry_issue_id", id(event, "issue_id"))] {
        keep(report, name, &id.unwrap_or_default());
    }
    let link = text(event, "web_url").or_else(|| text(event, "issue_url")).or_else(|| text(event, "url"));
    keep(report, "sentry_url", link.unwrap_or_default());
}

//! Service hooks, the third kind of Sentry's webhooks: `{project, group, event}`, signed with the hook's own secret.
//! The event is spelt as in Sentry's API (`eventID`, `entries`, `lineNo`), and converted to the usual spelling here.
//!
//! The deliveries of one event have the same key, whether as service hook, `error` or `event_alert`.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use shared::model::UpstreamGroup;

use super::{Meaning, SOURCE, apply_level, event, keep};
use crate::payload::{id, items, text};

/// Names in the API's spelling, and in the usual one.
const NAMES: [(&str, &str); 4] =
    [("eventID", "event_id"), ("projectID", "project"), ("groupID", "issue_id"), ("dateCreated", "datetime")];

/// Names of a stack frame, likewise.
const FRAME_NAMES: [(&str, &str); 4] =
    [("absPath", "abs_path"), ("lineNo", "lineno"), ("colNo", "colno"), ("inApp", "in_app")];

/// Entries of an event, and their usual names.
const ENTRIES: [(&str, &str); 3] = [("exception", "exception"), ("message", "logentry"), ("request", "request")];

/// The number of the Sentry project, if present.
#[must_use]
pub fn project_of(body: &Value) -> Option<String> {
    let event = body.get("event").unwrap_or(&Value::Null);
    id(event, "projectID").or_else(|| id(event, "project")).or_else(|| id(body.get("project")?, "id"))
}

/// The report of the event.
#[must_use]
pub fn meaning(body: &Value, now: DateTime<Utc>) -> Meaning {
    let null = &Value::Null;
    let (project, group) = (body.get("project").unwrap_or(null), body.get("group").unwrap_or(null));
    let mut event = body.get("event").cloned().unwrap_or_default();
    let Value::Object(fields) = &mut event else { return Meaning::Ignored("the delivery contains no event") };
    respell(fields);
    let Some(mut report) = event::report(&event, event::key(&event), now) else {
        return Meaning::Ignored("the delivery contains no event");
    };
    if let Some(slug) = text(project, "slug").or_else(|| text(project, "name")) {
        slug.clone_into(&mut report.application);
    }
    if let Some(id) = id(group, "id").filter(|_| report.upstream_group.is_none()) {
        keep(&mut report, "sentry_issue_id", &id);
        report.upstream_group = Some(UpstreamGroup { system: SOURCE.into(), id });
    }
    if let Some(level) = text(group, "level").filter(|_| text(&event, "level").is_none()) {
        apply_level(&mut report, level);
    }
    let link = text(&event, "web_url").or_else(|| text(group, "permalink")).or_else(|| text(group, "url"));
    keep(&mut report, "sentry_url", link.unwrap_or_default());
    Meaning::Report(Box::new(report), None)
}

fn respell(event: &mut Map<String, Value>) {
    for (theirs, ours) in NAMES {
        rename(event, theirs, ours);
    }
    // In the API's spelling, the level is one of the tags.
    let level = items(&Value::Object(event.clone()), "tags")
        .find(|tag| text(tag, "key") == Some("level"))
        .and_then(|tag| tag.get("value").cloned());
    if let Some(level) = level {
        event.entry("level").or_insert(level);
    }
    let Some(Value::Array(entries)) = event.remove("entries") else { return };
    for entry in entries {
        let Value::Object(mut entry) = entry else { continue };
        let kind = entry.get("type").and_then(Value::as_str).unwrap_or_default();
        let Some((_, name)) = ENTRIES.iter().find(|(theirs, _)| *theirs == kind) else { continue };
        let mut data = entry.remove("data").unwrap_or_default();
        if *name == "exception" {
            respell_frames(&mut data);
        }
        event.entry(*name).or_insert(data);
    }
}

fn respell_frames(exception: &mut Value) {
    let values = exception.get_mut("values").and_then(Value::as_array_mut).into_iter().flatten();
    let frames = values
        .filter_map(|value| value.get_mut("stacktrace")?.get_mut("frames")?.as_array_mut())
        .flatten()
        .filter_map(Value::as_object_mut);
    for frame in frames {
        for (theirs, ours) in FRAME_NAMES {
            rename(frame, theirs, ours);
        }
    }
}

fn rename(object: &mut Map<String, Value>, theirs: &str, ours: &str) {
    if let Some(value) = object.remove(theirs) {
        object.entry(ours).or_insert(value);
    }
}

//! Authentic deliveries of a kind that is not known yet. The delivery is stored, bounded, and noted on the timeline of
//! the issue that it names, if it names one.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::http::read_json;
use shared::model::text::first_chars;

use super::{Change, Meaning, body_key, detail, step};
use crate::payload::{Delivery, id};

/// Resource and action are cut to this length: the resource comes from a header.
const WORD_CHARS: usize = 64;

/// Stores the delivery, and notes it if it names an issue.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let mut step = step(delivery, body_key(delivery), named_issue(delivery), now);
    let [resource, action] = [delivery.resource(), delivery.action()].map(|word| first_chars(word, WORD_CHARS));
    step.action_type = "sentry_unknown".to_owned();
    step.description = "Sentry: a delivery of an unknown kind".to_owned();
    detail(&mut step, "resource", Some(resource));
    detail(&mut step, "action", Some(action));
    step.note = Some(json!({ "resource": resource, "action": action, "body": body(delivery.raw()) }));
    Meaning::Step(Change::Note, Box::new(step))
}

/// The issue's id, wherever known kinds have it.
fn named_issue(delivery: &Delivery) -> Option<String> {
    let data = delivery.whole();
    let of_event = || ["error", "event"].iter().find_map(|name| id(delivery.data(name), "issue_id"));
    id(data, "issue_id").or_else(|| id(data, "group_id")).or_else(|| id(delivery.data("issue"), "id")).or_else(of_event)
}

fn body(raw: &[u8]) -> Value {
    read_json(raw).unwrap_or_else(|_| String::from_utf8_lossy(raw).into())
}

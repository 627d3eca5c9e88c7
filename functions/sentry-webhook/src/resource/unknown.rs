//! What Sentry may send one day: authentic, but of a kind that we know nothing of. The delivery itself is kept, bounded,
//! so that nothing is lost by not being understood; and noted on the timeline of the issue that it names, if it names one.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::http::read_json;
use shared::model::text::first_chars;

use super::{Change, Meaning, body_key, step};
use crate::payload::{Delivery, id};
use crate::redaction;

/// A body of more bytes than this is kept as text, cut.
const KEPT_BYTES: usize = 16 * 1024;

/// The words of a delivery's kind are cut to this.
const WORD_CHARS: usize = 64;

/// Kept, and noted where it names an issue.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let mut step = step(delivery, body_key(delivery), named_issue(delivery), now);
    let [resource, action] = [delivery.resource(), delivery.action()].map(|word| first_chars(word, WORD_CHARS));
    step.action_type = "sentry_unknown".to_owned();
    step.description = "Sentry: a delivery of a kind that is not known".to_owned();
    step.details.insert("resource".to_owned(), redaction::text(resource).into());
    step.details.insert("action".to_owned(), redaction::text(action).into());
    let mut note = step.details.clone();
    note.insert("body".to_owned(), kept(delivery.raw()));
    step.note = Some(Value::Object(note));
    Meaning::Step(Change::Note, Box::new(step))
}

/// The issue's id, wherever the kinds that are known have it.
fn named_issue(delivery: &Delivery) -> Option<String> {
    let data = delivery.whole();
    let of_event = || ["error", "event"].iter().find_map(|name| id(delivery.data(name), "issue_id"));
    id(data, "issue_id").or_else(|| id(data, "group_id")).or_else(|| id(delivery.data("issue"), "id")).or_else(of_event)
}

fn kept(raw: &[u8]) -> Value {
    match read_json(raw) {
        Ok(body) if raw.len() <= KEPT_BYTES => redaction::value(body),
        _ => json!(first_chars(&redaction::text(&String::from_utf8_lossy(raw)), KEPT_BYTES / 4)),
    }
}

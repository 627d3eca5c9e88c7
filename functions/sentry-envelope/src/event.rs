//! Parses an event into a report.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::model::{DeliveryKey, Report};
use shared::sentry_event::{self, text};
use uuid::Uuid;

use crate::envelope::event_id;
use crate::payload::json;

/// The source of these reports.
const SOURCE: &str = "sentry-sdk";

/// What an event is.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// An error: becomes a report.
    Report(Box<Report>),
    /// Only counted, as items of this kind are.
    Counted(&'static str),
}

/// Parses an event: its id and meaning; none when it is not a JSON object. `number` is its item's number: without an id
/// of its own, the event is identified by the envelope's id and this number.
#[must_use]
pub(crate) fn read(
    payload: &[u8],
    number: usize,
    header_id: Option<Uuid>,
    project: i64,
    now: DateTime<Utc>,
) -> Option<(Uuid, Meaning)> {
    let event = json(payload).filter(Value::is_object)?;
    let own_id = text(&event, "event_id").and_then(event_id);
    let id = own_id.or(header_id).unwrap_or_else(Uuid::new_v4);
    // Older SDKs sent these as events.
    let counted = match text(&event, "type") {
        Some("transaction") => Some("transaction"),
        Some("feedback") => Some("feedback"),
        Some("profile") => Some("profile"),
        Some("replay_event") => Some("replay_event"),
        _ => None,
    };
    if let Some(name) = counted {
        return Some((id, Meaning::Counted(name)));
    }
    let named = |name: String| DeliveryKey::derived("sentry-sdk", name.as_bytes());
    let key = match (own_id, header_id) {
        (Some(id), _) => named(format!("{project}:{}", id.simple())),
        (None, Some(id)) => named(format!("{project}:{}:{number}", id.simple())),
        (None, None) => DeliveryKey::unique("sentry-sdk", now),
    };
    let mut report = sentry_event::report(&event, key, SOURCE, now)?;
    report.project = Some(project);
    Some((id, Meaning::Report(Box::new(report))))
}

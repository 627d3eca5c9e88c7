//! `installation.*`: the integration was installed in an organisation, or removed. Concerns no incident.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Change, Meaning, body_key, detail, step};
use crate::payload::{Delivery, text};

/// Stores the delivery without its `code`, which is a credential.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let installation = delivery.data("installation");
    let mut step = step(delivery, body_key(delivery), None, now);
    detail(&mut step, "status", text(installation, "status"));
    detail(&mut step, "organization", installation.get("organization").and_then(|it| text(it, "slug")));
    detail(&mut step, "app", installation.get("app").and_then(|it| text(it, "slug")));
    if let Some(Value::Object(note)) = &mut step.note {
        note.extend(step.details.clone());
    }
    Meaning::Step(Change::Note, Box::new(step))
}

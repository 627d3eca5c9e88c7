//! `preprod_artifact.*`, in older servers `size_analysis.*`: a build was measured or distributed. Concerns no incident.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Change, Meaning, body_key, detail, step};
use crate::payload::{Delivery, id, text};

/// Stores the delivery.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let data = delivery.whole();
    let mut step = step(delivery, body_key(delivery), None, now);
    detail(&mut step, "state", text(data, "state"));
    detail(&mut step, "build_id", id(data, "buildId"));
    if let Some(Value::Object(note)) = &mut step.note {
        note.extend(step.details.clone());
    }
    Meaning::Step(Change::Note, Box::new(step))
}

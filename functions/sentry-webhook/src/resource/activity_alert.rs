//! `activity_alert.triggered`: an alert on an action on an issue.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Change, Meaning, body_key, detail, step};
use crate::payload::{Delivery, id, text};

/// Adds the activity to the timeline.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let mut step = step(delivery, body_key(delivery), id(delivery.data("issue"), "id"), now);
    let activity = text(delivery.data("activity"), "type");
    if let Some(activity) =
        activity.filter(|kind| kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
    {
        step.description = format!("Sentry: activity alert on {}", super::words(activity));
        detail(&mut step, "activity", Some(activity));
    }
    let alert: &Value = delivery.data("alert");
    detail(&mut step, "alert_id", id(alert, "id"));
    detail(&mut step, "alert", text(alert, "title"));
    Meaning::Step(Change::Note, Box::new(step))
}

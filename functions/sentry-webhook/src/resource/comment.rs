//! `comment.*`: a comment on an issue. Its author is not stored.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Change, Meaning, body_key, delivery_key, detail, step};
use crate::payload::{Delivery, id, text};

/// Adds the comment to the timeline.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let data = delivery.whole();
    let comment_id = id(data, "comment_id");
    let key = match &comment_id {
        Some(comment_id) => {
            let content = json!([comment_id, delivery.action(), data.get("timestamp")]);
            delivery_key("comment", None, &content)
        }
        None => body_key(delivery),
    };
    let mut step = step(delivery, key, id(data, "issue_id"), now);
    detail(&mut step, "comment_id", comment_id);
    detail(&mut step, "project", text(data, "project_slug"));
    detail(&mut step, "comment", text(data, "comment"));
    Meaning::Step(Change::Note, Box::new(step))
}

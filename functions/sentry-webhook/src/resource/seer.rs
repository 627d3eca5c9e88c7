//! `seer.*`: Sentry's own agent analyses the cause of an issue, proposes a solution and changes.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Change, Meaning, body_key, delivery_key, detail, step};
use crate::payload::{Delivery, id, items, text};

/// The most pull requests that are stored of one run.
const PULL_REQUESTS: usize = 10;

/// Adds the run's progress to the timeline.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let data = delivery.whole();
    let run_id = id(data, "run_id");
    let key = match &run_id {
        Some(run_id) => delivery_key("seer", Some(&format!("{run_id}/{}", delivery.action())), data),
        None => body_key(delivery),
    };
    let mut step = step(delivery, key, id(data, "group_id"), now);
    detail(&mut step, "run_id", run_id);
    let proposed = items(data, "pull_requests").filter_map(|proposed| {
        let url = proposed.get("pull_request").and_then(|request| text(request, "pr_url"))?;
        url.starts_with("https://").then_some(url)
    });
    for (position, url) in proposed.take(PULL_REQUESTS).enumerate() {
        detail(&mut step, &format!("pull_request_{}", position + 1), Some(url));
    }
    let cause = data.get("root_cause").unwrap_or(&Value::Null);
    detail(&mut step, "repository", text(cause, "relevant_repo"));
    detail(&mut step, "cause", text(cause, "one_line_description"));
    let solution = data.get("solution").unwrap_or(&Value::Null);
    detail(&mut step, "solution", text(solution, "one_line_summary"));
    Meaning::Step(Change::Note, Box::new(step))
}

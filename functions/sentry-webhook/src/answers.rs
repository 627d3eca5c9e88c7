//! The answers to Sentry: `{incident_id, …}`, or why there is none.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use shared::store::lifecycle::Touched;

/// Our own errors are ignored: reporting them again would loop.
pub(crate) const OWN_PROJECT: &str = "this is the project that Watchkeeper reports its own errors to";

/// A delivery is ignored if its key may have been deleted.
pub(crate) const TOO_OLD: &str = "this delivery is older than delivery keys are kept";

/// Nothing was stored.
pub(crate) fn ignored(reason: &str) -> Response {
    Json(json!({ "ignored": reason })).into_response()
}

/// The step's effect on its incident.
pub(crate) fn step(touched: Option<&Touched>) -> Response {
    let body = match touched {
        None => json!({ "noted": "no incident is known for it" }),
        Some(Touched { incident_id, changed: true, .. }) => json!({ "incident_id": incident_id, "changed": true }),
        Some(Touched { incident_id, stale, .. }) => json!({
            "incident_id": incident_id,
            "changed": false,
            "noted": if *stale { "it is older than the newest known change" } else { "it was added to the incident's timeline" },
        }),
    };
    Json(body).into_response()
}

//! What Sentry is told: `{incident_id, …}`, or why there is none.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use shared::store::lifecycle::Touched;

/// Why our own errors are not taken.
pub(crate) const OWN_PROJECT: &str = "this is the project that Watchkeeper reports its own errors to";

/// Why a delivery is not taken whose key may be forgotten.
pub(crate) const TOO_OLD: &str = "what this delivery tells of is older than deliveries are remembered";

/// Nothing was stored.
pub(crate) fn ignored(reason: &str) -> Response {
    Json(json!({ "ignored": reason })).into_response()
}

/// What a step did to the incident that it is about.
pub(crate) fn step(touched: Option<&Touched>) -> Response {
    let body = match touched {
        None => json!({ "noted": "no incident is known for it" }),
        Some(Touched { incident_id, changed: true, .. }) => json!({ "incident_id": incident_id, "changed": true }),
        Some(Touched { incident_id, stale, .. }) => json!({
            "incident_id": incident_id,
            "changed": false,
            "noted": if *stale { "it is older than what is known" } else { "it stands on the incident's timeline" },
        }),
    };
    Json(body).into_response()
}

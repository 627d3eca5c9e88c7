//! `sentry-webhook`: Sentry's integration platform webhooks.
//!
//! - Trigger: `POST /webhooks/sentry` (API Gateway HTTP API, or the local stack).
//! - Guarantees: nothing is parsed before the signature over the raw bytes is verified; what was answered with 200 is
//!   committed; a delivery counts once.
//! - Idempotency key: from signed content only (the event's id, the issue's, the alert's), because Sentry sends a new
//!   `Request-ID` with each retry. `error` and `event_alert` of one event share it.
//!
//! Steps: [`signature`] → [`payload`] (bytes to a delivery) → [`resource`] (one file per kind, to a report) →
//! `shared::intake` (decide and write) → answer.

pub mod app;
pub mod payload;
pub mod resource;
pub mod signature;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::Utc;
use serde_json::json;
use shared::http::{ApiError, read_body};

pub use app::App;
use payload::Delivery;
use resource::Meaning;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().route("/webhooks/sentry", post(receive)).with_state(app)
}

async fn receive(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let body = read_body(body).await?;
    app.verify(&headers, &body)?;
    let delivery = Delivery::parse(&headers, &body)?;
    match resource::meaning(&delivery, Utc::now()) {
        Meaning::Report(report) => Ok(app.intake.record(*report).await?.into_response()),
        Meaning::Ignored(reason) => {
            tracing::info!(resource = delivery.resource(), action = delivery.action(), "noted: {reason}");
            Ok(Json(json!({ "ignored": reason })).into_response())
        }
    }
}

//! `report-error`: errors over a plain JSON API.
//!
//! - Trigger: `POST /api/autonomous/error` (API Gateway HTTP API, or the local stack).
//! - Guarantees: what was answered with 200 is committed; a delivery counts once.
//! - Idempotency key: the caller's `Idempotency-Key` header, else a fresh one for each request.
//!
//! Steps: [`app`] (who may call) → [`parse`] (bytes to a report) → `shared::intake` (decide, write, answer).

pub mod app;
pub mod parse;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use chrono::Utc;
use shared::http::{ApiError, read_body};
use shared::intake::Outcome;

pub use app::App;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().route("/api/autonomous/error", post(report_error)).with_state(app)
}

async fn report_error(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Outcome, ApiError> {
    app.gate.check(&headers)?;
    parse::check_content_type(&headers)?;
    let body = read_body(body).await?;
    let report = parse::report(&headers, &body, Utc::now())?;
    Ok(app.intake.record(report).await?)
}

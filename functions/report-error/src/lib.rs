//! `report-error`: errors over a plain JSON API.
//!
//! - Trigger: `POST /api/autonomous/error` (API Gateway HTTP API, or the local stack).
//! - Guarantees: after a 200 the report is committed; deliveries are idempotent.
//! - Idempotency key: the caller's `Idempotency-Key` header, else a fresh one for each request.
//!
//! Steps: [`app`] (authenticate) → [`parse`] (bytes to a report) → `shared::intake` (decide, write, answer).

pub mod app;
pub mod parse;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use chrono::{DateTime, Utc};
use shared::http::{ApiError, is_foreign, read_body};
use shared::intake::Outcome;
use shared::security::SecurityKind;

pub use app::App;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().route("/api/autonomous/error", post(report_error)).with_state(app)
}

async fn report_error(State(app): State<App>, request: Request) -> Result<Outcome, ApiError> {
    let now = Utc::now();
    let (parts, body) = request.into_parts();
    if let Err(refusal) = app.gate.check(&parts) {
        return Err(app.record_refusal(refusal, &parts, now).await);
    }
    parse::check_content_type(&parts.headers)?;
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(refusal) => return Err(app.record_refusal(refusal, &parts, now).await),
    };
    let report = parse::report(&parts.headers, &body, now)?;
    Ok(app.intake.record(report).await?)
}

impl App {
    /// Records a refusal that may be an attack, and returns it.
    async fn record_refusal(&self, refusal: ApiError, parts: &Parts, now: DateTime<Utc>) -> ApiError {
        let kind = match refusal.status() {
            StatusCode::UNAUTHORIZED => SecurityKind::WrongKey,
            StatusCode::FORBIDDEN if is_foreign(parts) => SecurityKind::ForeignOrigin,
            StatusCode::PAYLOAD_TOO_LARGE => SecurityKind::OversizedBody,
            _ => return refusal,
        };
        let description = format!("POST /api/autonomous/error: {}", refusal.message());
        self.watch.refused_request(kind, description, parts, now).await;
        refusal
    }
}

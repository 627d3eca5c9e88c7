//! From what became of a report to an answer.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use shared::http::ApiError;
use shared::intake::IntakeError;
use shared::store::reports::Receipt;

/// 200 with `{incident_id, created, severity, category}`.
#[must_use]
pub fn accepted(receipt: &Receipt) -> Response {
    Json(json!({
        "incident_id": receipt.incident_id,
        "created": receipt.created,
        "severity": receipt.severity,
        "category": receipt.category,
    }))
    .into_response()
}

/// 422 for a reused key, else what the store's error says.
#[must_use]
pub fn refusal(error: IntakeError) -> ApiError {
    match error {
        IntakeError::KeyReused => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "this Idempotency-Key was used before, for another error",
        ),
        IntakeError::Store(error) => error.into(),
    }
}

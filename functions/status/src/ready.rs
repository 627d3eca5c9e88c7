//! `GET /ready`: whether requests can be served, which takes the database.

use axum::Json;
use axum::extract::State;
use chrono::Utc;
use serde_json::{Value, json};
use shared::http::ApiError;
use shared::store::status;

use crate::App;

/// 200 with `{"status": "ready", "outbox_lag_seconds": …}` (how long the oldest unpublished event has waited), or 503.
///
/// # Errors
/// 503 when the database can't be used.
pub async fn show(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let now = Utc::now();
    let lag = app.store.run(|client| async move { status::outbox_lag_seconds(&client, now).await }).await?;
    Ok(Json(json!({ "status": "ready", "database": "healthy", "outbox_lag_seconds": lag, "timestamp": now })))
}

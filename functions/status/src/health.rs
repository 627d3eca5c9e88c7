//! `GET /health`: the process runs. No database access.

use axum::Json;
use chrono::Utc;
use serde_json::{Value, json};

/// 200 with `{"status": "healthy", "timestamp": …}`.
pub async fn show() -> Json<Value> {
    Json(json!({ "status": "healthy", "timestamp": Utc::now() }))
}

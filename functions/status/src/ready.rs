//! `GET /ready`: whether the database is reachable; and warnings for operators.

use axum::Json;
use axum::extract::State;
use chrono::Utc;
use serde_json::{Value, json};
use shared::http::ApiError;
use shared::store::status;

use crate::App;
use crate::warnings::warnings;

/// 200 with `{"status": "ready", "outbox": …, "warnings": […]}`, or 503. `outbox_lag_seconds` is the age of the oldest
/// unpublished event. The route needs no token, so only the beginning of an error is shown; the rest is in `/status`.
///
/// # Errors
/// 503 when the database can't be used.
pub async fn show(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let now = Utc::now();
    let (mut outbox, notifications) =
        app.store
            .run(|client| async move {
                Ok((status::outbox(&client, now).await?, status::notifications(&client, now).await?))
            })
            .await?;
    outbox.last_error = outbox.last_error.map(|error| error.split(':').next().unwrap_or_default().to_owned());
    Ok(Json(json!({
        "status": "ready",
        "database": "healthy",
        "outbox_lag_seconds": outbox.lag_seconds,
        "warnings": warnings(&outbox, &notifications),
        "outbox": outbox,
        "timestamp": now,
    })))
}

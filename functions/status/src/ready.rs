//! `GET /ready`: whether requests can be served, which takes the database; and what an operator should know beside that.

use axum::Json;
use axum::extract::State;
use chrono::Utc;
use serde_json::{Value, json};
use shared::http::ApiError;
use shared::store::status;

use crate::App;
use crate::warnings::warnings;

/// 200 with `{"status": "ready", "outbox": …, "warnings": […]}`, or 503. `outbox_lag_seconds` is how long the oldest event
/// has waited that the bus has not taken. Anybody may ask, so only the beginning of an error is told: the rest is in
/// `/status`.
///
/// # Errors
/// 503 when the database can't be used.
pub async fn show(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let now = Utc::now();
    let (mut outbox, telling) =
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
        "warnings": warnings(&outbox, &telling),
        "outbox": outbox,
        "timestamp": now,
    })))
}

//! `email-events`: records what happened to our emails, from `SendGrid`'s webhooks.
//!
//! - Trigger: `POST /webhooks/email-events`, `SendGrid`'s signed event webhook (API Gateway's HTTP API, or the local stack).
//! - Guarantees: nothing is parsed before the signature over the raw bytes is verified; after a 200 the events are
//!   committed; events are idempotent and may arrive in any order; events of unknown or other emails change nothing.
//! - Idempotency key: `sg_event_id`, which is signed.
//!
//! Steps: [`signature`] → [`events`] (a body to events) → `shared::store::emails` (one statement) → answer.

pub mod app;
pub mod events;
pub mod signature;

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::http::{ApiError, read_json};
use shared::store::emails::{self, EmailEvent};

pub use app::App;

/// A slower delivery is retried by `SendGrid`.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().route("/webhooks/email-events", post(receive)).with_state(app)
}

async fn receive(State(app): State<App>, request: Request) -> Result<Json<Value>, ApiError> {
    let (now, (parts, body)) = (Utc::now(), request.into_parts());
    let body = app.authentic(&parts, body, now).await?;
    let events = events::parse(&read_json(&body)?)?;
    let recorded = app.record(&events, now).await?;
    Ok(Json(json!({ "events": events.len(), "recorded": recorded })))
}

impl App {
    /// The body, if `SendGrid` has signed it. Refusals are recorded.
    async fn authentic(&self, parts: &Parts, body: Body, now: DateTime<Utc>) -> Result<Bytes, ApiError> {
        let Some(key) = &self.public_key else {
            tracing::error!("refused a webhook: SENDGRID_WEBHOOK_PUBLIC_KEY is not set, so nothing can be verified");
            let message = "webhooks are closed: this server has no usable SENDGRID_WEBHOOK_PUBLIC_KEY";
            return Err(ApiError::unauthorized(message));
        };
        let verify = |body: &[u8]| key.verify(&parts.headers, body, now);
        self.watch.authentic("SendGrid's webhooks", parts, body, verify, now).await
    }

    async fn record(&self, events: &[EmailEvent], now: DateTime<Utc>) -> Result<i64, ApiError> {
        if events.is_empty() {
            return Ok(0);
        }
        let recorded = self
            .store
            .run_within(TIMEOUT, |client| async move { emails::record_events(&client, events, now).await })
            .await?;
        tracing::info!(events = events.len(), recorded, "e-mails: {recorded} events recorded");
        Ok(recorded)
    }
}

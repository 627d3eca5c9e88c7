//! `heartbeat`: a job says that it lives. The probe notices when it does not.
//!
//! - Trigger: `POST /api/heartbeat/{token}` (API Gateway HTTP API, or the local stack). Not `GET`: what previews links
//!   must not keep a dead job alive.
//! - Guarantees: what was answered with 200 is committed, in one statement; the last sign of life counts.
//! - Idempotency key: none needed: the same again says the same.
//!
//! Steps: [`parse`] (query and body to what the job says) → `shared::store::heartbeats`.

pub mod app;
pub mod parse;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::heartbeat::HeartbeatToken;
use shared::http::{ApiError, read_body_within};
use shared::security::SecurityKind;
use shared::store::heartbeats;
use shared::store::probing::Beat;

pub use app::App;

/// A job may send this many bytes.
const BODY_BYTES: usize = 16 * 1024;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().route("/api/heartbeat/{token}", post(receive)).with_state(app)
}

async fn receive(
    State(app): State<App>,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let (now, (parts, body)) = (Utc::now(), request.into_parts());
    // What is no text is no token either.
    let token = token.ok().and_then(|Path(token)| HeartbeatToken::parse(&token));
    let Some(token) = token else { return Err(app.seen(unknown(), &parts, now).await) };
    let body = match read_body_within(body, BODY_BYTES).await {
        Ok(body) => body,
        Err(refusal) => return Err(app.seen(refusal, &parts, now).await),
    };
    let said = parse::said(parts.uri.query(), &body)?;
    let message = said.message.map(|message| app.redactor.text(&message).into_owned());
    let (hash, beat) = (&token.hash(), &Beat { at: now, failed: said.failed, message });
    let known = app.store.run(|client| async move { heartbeats::beat(&client, hash, beat).await }).await?;
    if known { Ok(Json(json!({ "received": true }))) } else { Err(app.seen(unknown(), &parts, now).await) }
}

fn unknown() -> ApiError {
    ApiError::not_found("no heartbeat has this token")
}

impl App {
    /// Notes a refusal that an attack may be behind, and passes it on.
    async fn seen(&self, refusal: ApiError, parts: &Parts, now: DateTime<Utc>) -> ApiError {
        let kind = match refusal.status() {
            StatusCode::NOT_FOUND => SecurityKind::WrongKey,
            StatusCode::PAYLOAD_TOO_LARGE => SecurityKind::OversizedBody,
            _ => return refusal,
        };
        let description = format!("POST /api/heartbeat: {}", refusal.message());
        self.watch.refused_request(kind, description, parts, now).await;
        refusal
    }
}

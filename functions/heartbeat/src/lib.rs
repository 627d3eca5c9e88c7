//! `heartbeat`: a job says that it lives. The probe notices when it does not.
//!
//! - Trigger: `POST /api/heartbeat/{token}` (API Gateway HTTP API, or the local stack). Not `GET`: what previews links
//!   must not keep a dead job alive.
//! - Guarantees: what was answered with 200 is committed, in one statement; with 202 it is safe until the database is
//!   back, and counts with the time at which it came. The last sign of life counts.
//! - Idempotency key: none needed: the same again says the same.
//!
//! Steps: [`parse`] (query and body to what the job says) → `shared::store::heartbeats`, or `shared::defer` while the
//! database is away ([`tokens`]: whose then).

pub mod app;
pub mod parse;
pub mod tokens;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde_json::json;
use shared::defer::{Deferred, DeferredBeat, Kept};
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
) -> Result<Response, ApiError> {
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
    let store = |client: Arc<_>| async move { heartbeats::beat(&client, hash, beat).await };
    let otherwise = || app.tokens.may_wait(hash, now).then(|| deferred(hash, beat));
    match app.deferral.store(&app.store, store, otherwise).await? {
        Kept::Stored(true) => {
            app.tokens.remember(hash);
            app.load_tokens().await;
            Ok(Json(json!({ "received": true })).into_response())
        }
        Kept::Stored(false) => Err(app.seen(unknown(), &parts, now).await),
        Kept::Deferred => {
            Ok((StatusCode::ACCEPTED, Json(json!({ "received": true, "deferred": true }))).into_response())
        }
    }
}

fn deferred(token_hash: &str, beat: &Beat) -> Deferred {
    Deferred::Beat(DeferredBeat { token_hash: token_hash.to_owned(), beat: beat.clone() })
}

fn unknown() -> ApiError {
    ApiError::not_found("no heartbeat has this token")
}

impl App {
    /// Remembers the tokens of all jobs, once in a process: while the database is away nobody can look.
    pub async fn load_tokens(&self) {
        if self.tokens.is_loaded() {
            return;
        }
        // What fails is tried again with the next heartbeat.
        if let Ok(hashes) = self.store.run(|client| async move { heartbeats::list_token_hashes(&client).await }).await {
            self.tokens.remember_all(hashes.values());
        }
    }

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

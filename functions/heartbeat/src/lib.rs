//! `heartbeat`: receives heartbeats of jobs. The probe detects missing ones.
//!
//! - Trigger: `POST /api/heartbeat/{token}` (API Gateway HTTP API, or the local stack). Not `GET`: a link preview must
//!   not count as a heartbeat.
//! - Guarantees: after a 200 the heartbeat is committed, in one statement; after a 202 it is safely deferred, and
//!   stored later with the time at which it was received. The last heartbeat counts.
//! - Idempotency key: none needed: storing a heartbeat is idempotent.
//!
//! Steps: [`parse`] (query and body) → `shared::store::heartbeats`, or `shared::defer` while the database is
//! unavailable ([`tokens`]: which ones may be deferred).

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

/// The largest body.
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
    // A path that is not UTF-8 contains no token.
    let token = token.ok().and_then(|Path(token)| HeartbeatToken::parse(&token));
    let Some(token) = token else { return Err(app.record_refusal(unknown(), &parts, now).await) };
    let body = match read_body_within(body, BODY_BYTES).await {
        Ok(body) => body,
        Err(refusal) => return Err(app.record_refusal(refusal, &parts, now).await),
    };
    let report = parse::report(parts.uri.query(), &body)?;
    let message = report.message.map(|message| app.redactor.text(&message).into_owned());
    let (hash, beat) = (&token.hash(), &Beat { at: now, failed: report.failed, message });
    let store = |client: Arc<_>| async move { heartbeats::beat(&client, hash, beat).await };
    let otherwise = || app.tokens.may_defer(hash, now).then(|| deferred(hash, beat));
    match app.deferral.store(&app.store, store, otherwise).await? {
        Kept::Stored(true) => {
            app.tokens.remember(hash);
            app.load_tokens().await;
            Ok(Json(json!({ "received": true })).into_response())
        }
        Kept::Stored(false) => Err(app.record_refusal(unknown(), &parts, now).await),
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
    /// Loads the tokens of all jobs, once per process: they can't be looked up while the database is unavailable.
    pub async fn load_tokens(&self) {
        if self.tokens.is_loaded() {
            return;
        }
        // A failure is retried with the next heartbeat.
        if let Ok(hashes) = self.store.run(|client| async move { heartbeats::list_token_hashes(&client).await }).await {
            self.tokens.remember_all(hashes.values());
        }
    }

    /// Records a refusal that may be an attack, and returns it.
    async fn record_refusal(&self, refusal: ApiError, parts: &Parts, now: DateTime<Utc>) -> ApiError {
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

//! `status`: the current state, for people and machines.
//!
//! - Trigger: `GET` routes (API Gateway HTTP API, or the local stack).
//! - Guarantees: reads only, except that wrong tokens are recorded; `/health` needs no database.
//! - Idempotency key: none needed.
//!
//! One file per route: [`health`], [`ready`], [`overview`] (`/status`, each service by [`service`]), [`metrics`],
//! [`incidents`], [`alerts`]. `paging`: shared by the lists. `overall` (pure): overall status and score. `warnings`:
//! problems of notifying.

pub mod alerts;
pub mod app;
pub mod health;
pub mod incidents;
pub mod metrics;
pub mod overall;
pub mod overview;
mod paging;
pub mod ready;
pub mod service;
mod warnings;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use chrono::Utc;
use shared::http::source_ip;
use shared::security::{SecurityEvent, SecurityKind};

pub use app::App;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/health", get(health::show))
        .route("/ready", get(ready::show))
        .route("/status", get(overview::show))
        .route("/metrics", get(metrics::show))
        .route("/api/incidents", get(incidents::list))
        .route("/api/incidents/{id}", get(incidents::show))
        .route("/api/alerts", get(alerts::list))
        .route_layer(from_fn_with_state(app.clone(), note_wrong_tokens))
        .with_state(app)
}

/// Records wrong tokens. A request without a token is not recorded: browsers send one first.
async fn note_wrong_tokens(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let has_token = headers.contains_key(AUTHORIZATION) || headers.contains_key("x-api-key");
    let source_ip = source_ip(headers, request.extensions());
    let response = next.run(request).await;
    if has_token && response.status() == StatusCode::UNAUTHORIZED {
        let description = "read routes: the token is wrong".to_owned();
        app.watch.refused(SecurityEvent { kind: SecurityKind::WrongKey, source_ip, description }, Utc::now()).await;
    }
    response
}

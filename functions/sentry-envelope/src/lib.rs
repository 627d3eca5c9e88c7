//! `sentry-envelope`: errors from any Sentry SDK, with a DSN of ours.
//!
//! - Trigger: `POST /api/{project}/envelope/` and `/api/{project}/store/` (API Gateway HTTP API, or the local stack), and
//!   the preflights of browsers.
//! - Guarantees: only the envelope's header is read before the key is verified, and verifying needs no database; a slow
//!   body does not block other requests; after a 200 the report is committed or safely deferred; deliveries are
//!   idempotent; memory per body is bounded by its events and a decoder's window.
//! - Idempotency key: the event's id, within its project.
//!
//! Steps: [`credentials`] (find the key) → `cors` (check the page's origin) → `decoding` (queue) → [`encoding`]
//! (streaming decompression) → [`envelope`] (bytes to items) → [`contents`] (items to reports and check-ins) →
//! `receive` (check quotas, store, answer) → `shared::intake`.

pub mod app;
mod check_in;
pub mod contents;
mod cors;
pub mod credentials;
mod decoding;
pub mod encoding;
pub mod envelope;
mod event;
mod payload;
mod receive;
mod refusal;
pub mod store_body;

use axum::Router;
use axum::middleware::map_response;
use axum::routing::post;

pub use app::App;
use cors::{allow_pages, preflight};
pub use decoding::Decoding;
use receive::{envelope, store};

/// The function's routes. SDKs send a trailing slash; hand-written clients often don't.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/api/{project}/envelope/", post(envelope).options(preflight))
        .route("/api/{project}/envelope", post(envelope).options(preflight))
        .route("/api/{project}/store/", post(store).options(preflight))
        .route("/api/{project}/store", post(store).options(preflight))
        .route_layer(map_response(allow_pages))
        .with_state(app)
}

//! `sentry-envelope`: errors from any Sentry SDK, with a DSN of ours.
//!
//! - Trigger: `POST /api/{project}/envelope/` and `/api/{project}/store/` (API Gateway HTTP API, or the local stack), and
//!   the preflights of browsers.
//! - Guarantees: nothing but the envelope's first line is read before the key is verified, and verifying needs no
//!   database; a body that takes long to read holds up nobody else; what was answered with 200 is committed, or safe until it is; a delivery counts once; no body takes more
//!   memory than its events and a decoder's window.
//! - Idempotency key: the event's id, within its project.
//!
//! Steps: [`credentials`] (which key) → `cors` (from which page) → `decoding` (on which thread) → [`encoding`] (decompress,
//! as a stream) → [`envelope`] (bytes to items) → [`contents`] (items to reports and check-ins) → `receive` (admit, keep,
//! answer) → `shared::intake`.

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

/// The function's routes. SDKs write them with the slash; hand-written clients forget it.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/api/{project}/envelope/", post(envelope).options(preflight))
        .route("/api/{project}/envelope", post(envelope).options(preflight))
        .route("/api/{project}/store/", post(store).options(preflight))
        .route("/api/{project}/store", post(store).options(preflight))
        .route_layer(map_response(allow_pages))
        .with_state(app)
}

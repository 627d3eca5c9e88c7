//! `admin`: what operators change.
//!
//! - Trigger: `POST /api/incidents/{id}/acknowledge` and `/resolve`, the same of `/api/alerts/{id}`; `/api/silences`
//!   (API Gateway HTTP API, or the local stack).
//! - Guarantees: only who has the admin token changes anything; what was answered with success is committed, stands in the
//!   audit with who did it, and its event was offered to the bus.
//! - Idempotency key: none needed: doing again what was done changes nothing, and each silence has an id of its own.
//!
//! One file per concern: `access` (who may call, and what they sent), `reactions`, `silences`.

mod access;
pub mod app;
mod reactions;
mod silences;

use axum::Router;
use axum::routing::{delete, post};

pub use app::App;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/api/incidents/{id}/acknowledge", post(reactions::acknowledge_incident))
        .route("/api/incidents/{id}/resolve", post(reactions::resolve_incident))
        .route("/api/alerts/{id}/acknowledge", post(reactions::acknowledge_alert))
        .route("/api/alerts/{id}/resolve", post(reactions::resolve_alert))
        .route("/api/silences", post(silences::create).get(silences::list))
        .route("/api/silences/{id}", delete(silences::end))
        .with_state(app)
}

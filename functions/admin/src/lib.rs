//! `admin`: operators' changes: acknowledge, resolve, silences.
//!
//! - Trigger: `POST /api/incidents/{id}/acknowledge` and `/resolve`, the same of `/api/alerts/{id}`; `/api/silences`
//!   (API Gateway HTTP API, or the local stack).
//! - Guarantees: changes need the admin token; after a success the change is committed, with an audit row that names
//!   the operator, and its event was published or is in the outbox.
//! - Idempotency key: none needed: acknowledging and resolving are idempotent, and each silence has an id of its own.
//!
//! One file per concern: `access` (authentication, bodies), `reactions`, `silences`.

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

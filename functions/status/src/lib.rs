//! `status`: how things stand, for people and machines.
//!
//! - Trigger: `GET` routes (API Gateway HTTP API, or the local stack).
//! - Guarantees: reads only; `/health` touches nothing.
//! - Idempotency key: none needed.
//!
//! One file per route: [`health`], [`ready`], [`overview`] (`/status`, each service by [`service`]), [`metrics`],
//! [`incidents`], [`alerts`]. `paging`: what lists have in common. `overall` (pure): how bad all of it is. `warnings`: what
//! keeps people from being told.

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
use axum::routing::get;

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
        .with_state(app)
}

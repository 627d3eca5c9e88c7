//! `email-events`: what became of our e-mails.

pub mod app;

use axum::Router;

pub use app::App;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().with_state(app)
}

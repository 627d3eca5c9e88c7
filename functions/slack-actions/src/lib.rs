//! `slack-actions`: the buttons of our Slack messages.

pub mod app;

use axum::Router;

pub use app::App;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().with_state(app)
}

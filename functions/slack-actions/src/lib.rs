//! `slack-actions`: the buttons of our Slack messages.
//!
//! - Trigger: `POST /webhooks/slack`, the app's request URL for interactivity (API Gateway's HTTP API, or the local stack).
//! - Guarantees: nothing is parsed before Slack's signature over the raw bytes is verified; a click that is answered with 200
//!   is committed, and counts once. `notify` updates the message, on the event of the change.
//! - Idempotency key: from signed content: the click's time, button, subject and user.
//!
//! Slack waits for three seconds, and shows the user a failure for any other answer than 200.
//!
//! Steps: [`signature`] → [`payload`] (a form to clicks) → `shared::store::reactions` → answer.

pub mod app;
pub mod payload;
pub mod signature;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use chrono::{DateTime, Utc};
use shared::http::ApiError;
use shared::store::lifecycle::Agent;
use shared::store::reactions::{self, Reacted, Reaction};

pub use app::App;
use payload::Click;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().route("/webhooks/slack", post(receive)).with_state(app)
}

async fn receive(State(app): State<App>, request: Request) -> Result<StatusCode, ApiError> {
    let (now, (parts, body)) = (Utc::now(), request.into_parts());
    let body = app.authentic(&parts, body, now).await?;
    for click in payload::clicks(&body)? {
        app.take(click, now).await?;
    }
    Ok(StatusCode::OK)
}

impl App {
    /// The body, if Slack's signature is valid. A refusal is recorded.
    async fn authentic(&self, parts: &Parts, body: Body, now: DateTime<Utc>) -> Result<Bytes, ApiError> {
        let Some(secret) = &self.signing_secret else {
            tracing::error!("refused a click: SLACK_SIGNING_SECRET is not set, so nothing can be verified");
            return Err(ApiError::unauthorized("clicks are refused: this server has no SLACK_SIGNING_SECRET"));
        };
        let verify = |body: &[u8]| signature::verify(secret, &parts.headers, body, now);
        self.watch.authentic("Slack's clicks", parts, body, verify, now).await
    }

    /// Acknowledges or resolves the subject, and publishes the event.
    async fn take(&self, click: Click, now: DateTime<Utc>) -> Result<(), ApiError> {
        let Click { delivery_key, action, subject, by } = click;
        let agent = Agent::new("slack-actions", "operator");
        let (subject, reaction) =
            (&subject, &Reaction { delivery_key, action, by, comment: None, agent, at: now, done_at: None });
        let reacted = self
            .store
            .run_within(self.patience, |client| async move { reactions::react(&client, subject, reaction).await })
            .await?;
        let by = &reaction.by;
        match reacted {
            Reacted::Done(event) => {
                tracing::info!(%subject, by, ?action, changed = event.is_some(), "{action:?} of {subject} by {by}");
                self.publisher.publish(event.as_slice()).await;
            }
            Reacted::Over => tracing::info!(%subject, by, "{subject} is already resolved"),
            Reacted::Unknown => tracing::warn!(%subject, by, "{subject} is not known"),
        }
        Ok(())
    }
}

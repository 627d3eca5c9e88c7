//! `pagerduty-events`: what people did about our incidents in `PagerDuty`.
//!
//! - Trigger: `POST /webhooks/pagerduty`, a subscription of its version 3 (API Gateway's HTTP API, or the local stack).
//! - Guarantees: nothing is parsed before the signature over the raw bytes is verified; what was answered with 200 is
//!   committed; an event counts once; what is somebody else's incident changes nothing.
//! - Idempotency key: the event's id, which is signed, and what it is about.
//!
//! Steps: [`signature`] → [`payload`] (a body to a deed) → `shared::store::subjects` (their key to our incidents) →
//! `shared::store::reactions` → answer.

pub mod app;
pub mod payload;
pub mod signature;

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::http::{ApiError, read_json};
use shared::model::{DeliveryKey, Subject};
use shared::store::lifecycle::Agent;
use shared::store::reactions::{self, Reacted, Reaction};
use shared::store::subjects;

pub use app::App;
use payload::{Done, Meaning};

/// `PagerDuty` waits for five seconds, and sends again what failed.
const PATIENCE: Duration = Duration::from_secs(4);

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().route("/webhooks/pagerduty", post(receive)).with_state(app)
}

async fn receive(State(app): State<App>, request: Request) -> Result<Json<Value>, ApiError> {
    let (now, (parts, body)) = (Utc::now(), request.into_parts());
    let body = app.authentic(&parts, body, now).await?;
    match payload::meaning(&read_json(&body)?) {
        Meaning::Did(done) => app.take(&done, now).await,
        Meaning::Nothing(why) => {
            tracing::info!("ignored: {why}");
            Ok(Json(json!({ "ignored": why })))
        }
    }
}

impl App {
    /// The body, if `PagerDuty` has signed it. What is refused is noted.
    async fn authentic(&self, parts: &Parts, body: Body, now: DateTime<Utc>) -> Result<Bytes, ApiError> {
        let Some(secret) = &self.webhook_secret else {
            tracing::error!("refused a webhook: PAGERDUTY_WEBHOOK_SECRET is not set, so nothing can be verified");
            return Err(ApiError::unauthorized("webhooks are closed: this server has no PAGERDUTY_WEBHOOK_SECRET"));
        };
        let verify = |body: &[u8]| signature::verify(secret, &parts.headers, body);
        self.watch.authentic("PagerDuty's webhooks", parts, body, verify, now).await
    }

    /// Does the same to all that was told under the key, and tells the bus.
    async fn take(&self, done: &Done, now: DateTime<Utc>) -> Result<Json<Value>, ApiError> {
        let reacted = self.store.run_within(PATIENCE, |client| async move {
            let mut all = Vec::new();
            for subject in subjects::list_of_dedup_key(&client, &done.dedup_key).await? {
                let reacted = reactions::react(&client, &subject, &reaction(done, &subject, now)).await?;
                all.push((subject, reacted));
            }
            Ok(all)
        });
        let reacted = reacted.await?;
        let (deed, by) = (done.deed, &done.by);
        if reacted.is_empty() {
            tracing::info!(dedup_key = done.dedup_key, "ignored: somebody else's incident");
            return Ok(Json(json!({ "ignored": "somebody else's incident" })));
        }
        let mut events = Vec::new();
        for (subject, reacted) in &reacted {
            tracing::info!(%subject, by, ?deed, ?reacted, "{deed:?} of {subject} by {by}");
            events.extend(match reacted {
                Reacted::Done(event) => *event,
                Reacted::Over | Reacted::Unknown => None,
            });
        }
        self.publisher.publish(&events).await;
        let subjects: Vec<String> = reacted.iter().map(|(subject, _)| subject.to_string()).collect();
        Ok(Json(json!({ "subjects": subjects, "changed": events.len() })))
    }
}

fn reaction(done: &Done, subject: &Subject, now: DateTime<Utc>) -> Reaction {
    let content = json!([done.event_id, subject.to_string()]);
    Reaction {
        delivery_key: DeliveryKey::derived("pagerduty", content.to_string().as_bytes()),
        deed: done.deed,
        by: done.by.clone(),
        comment: None,
        agent: Agent { id: "pagerduty-events", kind: "operator" },
        at: now,
        done_at: done.at,
    }
}

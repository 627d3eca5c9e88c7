//! `pagerduty-events`: what people did about our incidents in `PagerDuty`.
//!
//! - Trigger: `POST /webhooks/pagerduty`, a subscription of its version 3 (API Gateway's HTTP API, or the local stack).
//! - Guarantees: nothing is parsed before the signature over the raw bytes is verified; what was answered with 200 is
//!   committed; an event counts once; what is somebody else's incident changes nothing.
//! - Idempotency key: the event's id, which is signed, and what it is about.
//!
//! Steps: [`signature`] → [`payload`] (a body to an action) → `alerts` (their incident to the keys that it was opened under) →
//! `shared::store::subjects` (a key to our incidents) → `shared::store::reactions` → answer.

mod alerts;
pub mod app;
pub mod payload;
pub mod signature;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
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

use alerts::AlertsError;
pub use app::App;
use payload::{About, Done, Meaning};

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

    /// The keys that the incident was opened under; none where that can't be found out, and why.
    async fn keys(&self, about: &About) -> Result<Result<Vec<String>, &'static str>, ApiError> {
        let incident = match about {
            About::Key(key) => return Ok(Ok(vec![key.clone()])),
            About::Incident(incident) => incident,
        };
        let Some(alerts) = &self.alerts else {
            tracing::error!("PAGERDUTY_API_TOKEN is not set: what is done in PagerDuty can't be found here");
            return Ok(Err("this server has no PAGERDUTY_API_TOKEN to ask what it is about"));
        };
        match alerts.keys(incident).await {
            Ok(keys) => Ok(Ok(keys)),
            Err(error @ AlertsError::Later(_)) => {
                tracing::warn!(%error, "PagerDuty is to send it again");
                let message = "PagerDuty does not say what it is about; try again";
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
            }
            Err(error @ AlertsError::Refused(_)) => {
                tracing::error!(%error, "what is done in PagerDuty can't be found here");
                Ok(Err("PagerDuty refuses to say what it is about"))
            }
        }
    }

    /// Does the same to all that was told under the keys, and tells the bus.
    async fn take(&self, done: &Done, now: DateTime<Utc>) -> Result<Json<Value>, ApiError> {
        let keys = match self.keys(&done.about).await? {
            Ok(keys) => keys,
            Err(why) => return Ok(Json(json!({ "ignored": why }))),
        };
        let keys = keys.as_slice();
        let reacted = self.store.run_within(self.patience, |client| async move {
            let mut all = Vec::new();
            for subject in subjects::list_of_dedup_keys(&client, keys, done.at).await? {
                let reacted = reactions::react(&client, &subject, &reaction(done, &subject, now)).await?;
                all.push((subject, reacted));
            }
            Ok(all)
        });
        let reacted = reacted.await?;
        let (action, by) = (done.action, &done.by);
        if reacted.is_empty() {
            tracing::info!(about = ?done.about, "ignored: nothing that is open here");
            return Ok(Json(json!({ "ignored": "nothing that is open here" })));
        }
        let mut events = Vec::new();
        for (subject, reacted) in &reacted {
            tracing::info!(%subject, by, ?action, ?reacted, "{action:?} of {subject} by {by}");
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
        action: done.action,
        by: done.by.clone(),
        comment: None,
        agent: Agent::new("pagerduty-events", "operator"),
        at: now,
        done_at: done.at,
    }
}

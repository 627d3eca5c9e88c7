//! `pagerduty-events`: applies what people did in `PagerDuty` to our incidents.
//!
//! - Trigger: `POST /webhooks/pagerduty`, a subscription of its version 3 (API Gateway's HTTP API, or the local stack).
//! - Guarantees: nothing is parsed before the signature over the raw bytes is verified; after a 200 the change is
//!   committed; events are idempotent; incidents of other systems change nothing.
//! - Idempotency key: the event's id, which is signed, and its subject.
//!
//! Steps: [`signature`] → [`payload`] (a body to an action) → `alerts` (a PagerDuty incident to the keys that it was
//! opened under) → `shared::store::subjects` (a key to our incidents) → `shared::store::reactions` → answer.

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
use payload::{About, Meaning, PersonAction};

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new().route("/webhooks/pagerduty", post(receive)).with_state(app)
}

async fn receive(State(app): State<App>, request: Request) -> Result<Json<Value>, ApiError> {
    let (now, (parts, body)) = (Utc::now(), request.into_parts());
    let body = app.authentic(&parts, body, now).await?;
    match payload::meaning(&read_json(&body)?) {
        Meaning::Did(action) => app.take(&action, now).await,
        Meaning::Nothing(why) => {
            tracing::info!("ignored: {why}");
            Ok(Json(json!({ "ignored": why })))
        }
    }
}

impl App {
    /// The body, if `PagerDuty` has signed it. Refusals are recorded.
    async fn authentic(&self, parts: &Parts, body: Body, now: DateTime<Utc>) -> Result<Bytes, ApiError> {
        let Some(secret) = &self.webhook_secret else {
            tracing::error!("refused a webhook: PAGERDUTY_WEBHOOK_SECRET is not set, so nothing can be verified");
            return Err(ApiError::unauthorized("webhooks are closed: this server has no PAGERDUTY_WEBHOOK_SECRET"));
        };
        let verify = |body: &[u8]| signature::verify(secret, &parts.headers, body);
        self.watch.authentic("PagerDuty's webhooks", parts, body, verify, now).await
    }

    /// The keys that the incident was opened under, or why they can't be listed.
    async fn keys(&self, about: &About) -> Result<Result<Vec<String>, &'static str>, ApiError> {
        let incident = match about {
            About::Key(key) => return Ok(Ok(vec![key.clone()])),
            About::Incident(incident) => incident,
        };
        let Some(alerts) = &self.alerts else {
            tracing::error!("PAGERDUTY_API_TOKEN is not set: what is done in PagerDuty can't be applied here");
            return Ok(Err("this server has no PAGERDUTY_API_TOKEN to look the incident up"));
        };
        match alerts.keys(incident).await {
            Ok(keys) => Ok(Ok(keys)),
            Err(error @ AlertsError::Later(_)) => {
                tracing::warn!(%error, "PagerDuty is asked to retry the delivery");
                let message = "PagerDuty does not list the incident's alerts now; try again";
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message))
            }
            Err(error @ AlertsError::Refused(_)) => {
                tracing::error!(%error, "what is done in PagerDuty can't be applied here");
                Ok(Err("PagerDuty refuses to list the incident's alerts"))
            }
        }
    }

    /// Applies the action to all subjects of the keys, and publishes the events.
    async fn take(&self, action: &PersonAction, now: DateTime<Utc>) -> Result<Json<Value>, ApiError> {
        let keys = match self.keys(&action.about).await? {
            Ok(keys) => keys,
            Err(why) => return Ok(Json(json!({ "ignored": why }))),
        };
        let keys = keys.as_slice();
        let reacted = self.store.run_within(self.timeout, |client| async move {
            let mut all = Vec::new();
            for subject in subjects::list_of_dedup_keys(&client, keys, action.at).await? {
                let reacted = reactions::react(&client, &subject, &reaction(action, &subject, now)).await?;
                all.push((subject, reacted));
            }
            Ok(all)
        });
        let reacted = reacted.await?;
        let (kind, by) = (action.kind, &action.by);
        if reacted.is_empty() {
            tracing::info!(about = ?action.about, "ignored: no open incident or alert here");
            return Ok(Json(json!({ "ignored": "no open incident or alert here" })));
        }
        let mut events = Vec::new();
        for (subject, reacted) in &reacted {
            tracing::info!(%subject, by, action = ?kind, ?reacted, "{kind:?} of {subject} by {by}");
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

fn reaction(action: &PersonAction, subject: &Subject, now: DateTime<Utc>) -> Reaction {
    let content = json!([action.event_id, subject.to_string()]);
    Reaction {
        delivery_key: DeliveryKey::derived("pagerduty", content.to_string().as_bytes()),
        action: action.kind,
        by: action.by.clone(),
        comment: None,
        agent: Agent::new("pagerduty-events", "operator"),
        at: now,
        done_at: action.at,
    }
}

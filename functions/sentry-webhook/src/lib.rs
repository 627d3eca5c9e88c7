//! `sentry-webhook`: Sentry's integration platform webhooks, service hooks, and the older `WebHooks` plugin.
//!
//! - Trigger: `POST /webhooks/sentry` (signed), `POST /webhooks/sentry/{secret}` (the plugin, which signs nothing),
//!   over API Gateway's HTTP API or the local stack.
//! - Guarantees: nothing is parsed before the signature over the raw bytes is verified; after a 200 the delivery is
//!   committed, after a 202 it is safely deferred; deliveries are idempotent; an authentic delivery of an unknown kind
//!   is accepted.
//! - Idempotency key: from signed content only (the event's id, the state, the alert's), because Sentry sends a
//!   new `Request-ID` with each retry. All the signed deliveries of one event share it.
//!
//! Steps: [`signature`] → [`payload`] (parse) → [`resource`] (one file per kind, to a report or a step in an incident's
//! lifecycle) → [`age`] (replay protection) → `shared::intake`, or `steps` (one statement each) → answer. The plugin's
//! route is [`legacy`].

pub mod age;
mod answers;
pub mod app;
pub mod legacy;
pub mod payload;
mod refusal;
pub mod resource;
pub mod signature;
mod steps;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use chrono::{DateTime, Utc};
use shared::http::{ApiError, read_body, read_json};
use shared::intake::Outcome;
use shared::model::Report;
use shared::security::SecurityKind;

pub use app::App;
use payload::Delivery;
use refusal::WebhookRefusal;
use resource::{Meaning, service_hook};
use signature::{SignatureError, WebhookKind};

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/webhooks/sentry", post(receive))
        .route("/webhooks/sentry/{secret}", post(receive_unsigned))
        .with_state(app)
}

async fn receive(State(app): State<App>, request: Request) -> Response {
    let (now, (parts, body)) = (Utc::now(), request.into_parts());
    match app.take_signed(&parts, body, now).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(&app, &parts, now).await,
    }
}

async fn receive_unsigned(
    State(app): State<App>,
    secret: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (now, (parts, body)) = (Utc::now(), request.into_parts());
    match app.take_legacy(secret.ok().map(|Path(secret)| secret), body, now).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(&app, &parts, now).await,
    }
}

impl App {
    async fn take_signed(&self, parts: &Parts, body: Body, now: DateTime<Utc>) -> Result<Response, WebhookRefusal> {
        let body = read_body(body).await?;
        let webhook = WebhookKind::of(&parts.headers);
        self.verify(webhook, parts, &body)?;
        let (happened_at, meaning) = match webhook {
            WebhookKind::Integration => {
                let delivery = Delivery::parse(&parts.headers, body)?;
                let kind = resource::kind_of(delivery.resource(), delivery.action());
                self.deps.counters.count("sentry", &kind, now).await;
                if self.is_own(resource::project_of(&delivery)) {
                    return Ok(answers::ignored(answers::OWN_PROJECT));
                }
                (age::of_delivery(&delivery), resource::meaning(&delivery, now))
            }
            WebhookKind::ServiceHook => {
                let body = read_json(&body)?;
                self.deps.counters.count("sentry", "service_hook", now).await;
                if self.is_own(service_hook::project_of(&body)) {
                    return Ok(answers::ignored(answers::OWN_PROJECT));
                }
                (age::of_service_hook(&body), service_hook::meaning(&body, now))
            }
        };
        if age::is_too_old(happened_at, &meaning, now) {
            return Ok(self.leave_old(parts, now).await);
        }
        self.act(age::without_old_report(happened_at, meaning, now)).await
    }

    /// Verifies Sentry's signature.
    fn verify(&self, webhook: WebhookKind, parts: &Parts, body: &[u8]) -> Result<(), WebhookRefusal> {
        let (secret, variable) = match webhook {
            WebhookKind::Integration => (&self.config.client_secret, "SENTRY_CLIENT_SECRET"),
            WebhookKind::ServiceHook => (&self.config.service_hook_secret, "SENTRY_SERVICE_HOOK_SECRET"),
        };
        let Some(secret) = secret else {
            tracing::error!(variable, "refused a webhook: {variable} is not set, so nothing can be verified");
            return Err(ApiError::unauthorized(format!("webhooks are closed: this server has no {variable}")).into());
        };
        signature::verify(webhook, secret, &parts.headers, body).map_err(|error| {
            tracing::warn!(%error, "refused a webhook");
            let message = match error {
                SignatureError::Missing => "the header Sentry-Hook-Signature is missing",
                SignatureError::Wrong | SignatureError::Stale => "the signature is wrong",
            };
            WebhookRefusal::suspicious(SecurityKind::BadSignature, message)
        })
    }

    /// Counts a delivery whose key may have been deleted, and ignores it.
    async fn leave_old(&self, parts: &Parts, now: DateTime<Utc>) -> Response {
        tracing::warn!("ignored: {}", answers::TOO_OLD);
        self.deps.counters.count("sentry", "too_old", now).await;
        let description = format!("Sentry's webhooks: {}", answers::TOO_OLD);
        self.deps.watch.refused_request(SecurityKind::OldDelivery, description, parts, now).await;
        answers::ignored(answers::TOO_OLD)
    }

    async fn act(&self, meaning: Meaning) -> Result<Response, WebhookRefusal> {
        match meaning {
            Meaning::Report(report, None) => self.record(*report).await,
            Meaning::Report(report, Some(step)) => {
                let outcome = self.deps.intake.record(report.as_ref().clone()).await?;
                let is_deferred = matches!(outcome, Outcome::Deferred(_));
                self.take_following(*step, is_deferred.then_some(*report)).await?;
                Ok(outcome.into_response())
            }
            Meaning::Step(change, step) => self.take_step(change, *step).await,
            Meaning::Return(step, report) => self.take_return(*step, report.map(|report| *report)).await,
            Meaning::Ignored(reason) => {
                tracing::info!("ignored: {reason}");
                Ok(answers::ignored(reason))
            }
        }
    }

    async fn record(&self, report: Report) -> Result<Response, WebhookRefusal> {
        Ok(self.deps.intake.record(report).await?.into_response())
    }
}

//! Refusals. Sentry logs the header `Sentry-Hook-Error`, so it contains the reason; possible attacks are recorded.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use shared::http::ApiError;
use shared::intake::IntakeError;
use shared::security::SecurityKind;
use shared::store::StoreError;

use crate::App;

const REASON: HeaderName = HeaderName::from_static("sentry-hook-error");

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct WebhookRefusal {
    error: ApiError,
    /// The security event to record, if any.
    suspicion: Option<SecurityKind>,
    retry_after: Option<Duration>,
}

impl WebhookRefusal {
    /// 401: an attack, or a wrong configuration.
    pub(crate) fn suspicious(suspicion: SecurityKind, message: &str) -> Self {
        Self { suspicion: Some(suspicion), ..ApiError::unauthorized(message).into() }
    }

    /// 429: the rate limit is reached; retry after this time.
    pub(crate) fn too_many(retry_after: Duration) -> Self {
        let message = "too many unsigned deliveries; try again later";
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        Self { retry_after: Some(retry_after), ..error.into() }
    }

    /// The answer; records a possible attack.
    pub(crate) async fn answer(self, app: &App, parts: &Parts, now: DateTime<Utc>) -> Response {
        if let Some(kind) = self.suspicion {
            // Without the path: it may contain a secret.
            let description = format!("Sentry's webhooks: {}", self.error.message());
            app.deps.watch.refused_request(kind, description, parts, now).await;
        }
        let reason = self.error.status().is_client_error().then(|| HeaderValue::from_str(self.error.message()));
        let mut response = self.error.into_response();
        if let Some(Ok(reason)) = reason {
            response.headers_mut().insert(REASON, reason);
        }
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

impl From<ApiError> for WebhookRefusal {
    fn from(error: ApiError) -> Self {
        let suspicion = (error.status() == StatusCode::PAYLOAD_TOO_LARGE).then_some(SecurityKind::OversizedBody);
        Self { error, suspicion, retry_after: None }
    }
}

impl From<IntakeError> for WebhookRefusal {
    fn from(error: IntakeError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<StoreError> for WebhookRefusal {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

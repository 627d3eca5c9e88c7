//! Parses a delivery of the older `WebHooks` plugin: an unsigned event. A client that knows the secret in the path may
//! have forged it, so the report is marked as unverified, and its delivery key has a namespace of its own: it can't
//! deduplicate a signed delivery.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::http::ApiError;
use shared::model::{DeliveryKey, Report, UpstreamGroup};

use super::{SOURCE, apply_level, event, keep};
use crate::payload::{id, items, text};

/// The namespace of unsigned delivery keys.
const NAMESPACE: &str = "sentry-legacy";

/// The most triggering rules that are stored.
const RULES: usize = 10;

/// A delivery of the plugin.
#[derive(Debug)]
pub struct Legacy(Value);

impl Legacy {
    /// Wraps a body.
    ///
    /// # Errors
    /// 400 when it is not a JSON object.
    pub fn new(body: Value) -> Result<Self, ApiError> {
        if body.is_object() {
            return Ok(Self(body));
        }
        Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", "the body must be a JSON object"))
    }

    /// The number of the Sentry project, if present.
    #[must_use]
    pub fn project(&self) -> Option<String> {
        id(self.event(), "project").or_else(|| id(&self.0, "project_id"))
    }

    /// The key of this event's signed delivery, if there is one.
    #[must_use]
    pub fn signed_key(&self) -> Option<DeliveryKey> {
        (id(self.event(), "project").is_some() && id(self.event(), "event_id").is_some())
            .then(|| event::key(self.event()))
    }

    /// The delivery's report.
    #[must_use]
    pub fn report(&self, now: DateTime<Utc>) -> Report {
        let body = &self.0;
        let content = event::named(self.event()).unwrap_or_else(|| body.to_string());
        let key = DeliveryKey::derived(NAMESPACE, content.as_bytes());
        let empty = json!({});
        let event = if self.event().is_object() { self.event() } else { &empty };
        let message = text(body, "message").unwrap_or("an event without a message").to_owned();
        let mut report =
            event::report(event, key.clone(), now).unwrap_or_else(|| Report::new(key, SOURCE, message.clone(), now));
        if !["message", "logentry", "exception", "title"]
            .iter()
            .any(|name| event.get(name).is_some_and(|it| !it.is_null()))
        {
            report.message = message;
        }
        let slug = text(body, "project_slug").or_else(|| text(body, "project")).or_else(|| text(body, "project_name"));
        if let Some(slug) = slug {
            slug.clone_into(&mut report.application);
        }
        if let Some(id) = id(body, "id") {
            keep(&mut report, "sentry_issue_id", &id);
            report.upstream_group = Some(UpstreamGroup { system: SOURCE.into(), id });
        }
        if text(event, "level").is_none() {
            apply_level(&mut report, text(body, "level").unwrap_or("error"));
        }
        for (name, key) in [("url", "sentry_url"), ("culprit", "culprit"), ("logger", "logger")] {
            keep(&mut report, key, text(body, name).unwrap_or_default());
        }
        let rules: Vec<&str> = items(body, "triggering_rules").filter_map(Value::as_str).take(RULES).collect();
        if !rules.is_empty() {
            report.context.insert("triggering_rules".to_owned(), json!(rules));
        }
        report.context.insert("unverified".to_owned(), json!(true));
        report
    }

    fn event(&self) -> &Value {
        self.0.get("event").unwrap_or(&Value::Null)
    }
}

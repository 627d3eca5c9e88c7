//! Parses a delivery: its kind and its `data`. Any field may be missing, null or of another type.

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::Value;
use shared::http::{ApiError, read_json};
pub use shared::sentry_event::{id, items, text};

/// The resources whose `data` has a key of its own: the header's name, and that key. Without the header, the first key
/// that is present decides; an activity alert also contains an issue.
const DATA_KEYS: [(&str, &str); 9] = [
    ("activity_alert", "activity"),
    ("error", "error"),
    ("event_alert", "event"),
    ("metric_alert", "metric_alert"),
    ("installation", "installation"),
    ("issue", "issue"),
    ("activity_alert", "issue"),
    ("comment", "comment_id"),
    ("seer", "run_id"),
];

/// One authentic delivery.
#[derive(Debug)]
pub struct Delivery {
    resource: String,
    body: Value,
    raw: Bytes,
}

impl Delivery {
    /// Parses the body. The header that names the resource is not signed: it must agree with the body; without it, the
    /// body decides.
    ///
    /// # Errors
    /// 400 when the body is not a JSON object, or is of another kind than the header says.
    pub fn parse(headers: &HeaderMap, raw: Bytes) -> Result<Self, ApiError> {
        let named = headers.get("sentry-hook-resource").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let known = DATA_KEYS.iter().any(|(resource, _)| *resource == named);
        let body = match read_json(&raw) {
            Ok(body @ Value::Object(_)) => body,
            // UI components may send an empty body, and unknown kinds may have any body.
            _ if raw.is_empty() || !(known || named.is_empty()) => Value::Null,
            Ok(_) => return Err(ApiError::invalid("the body must be a JSON object")),
            Err(error) => return Err(error),
        };
        let data = body.get("data").unwrap_or(&Value::Null);
        let has = |key: &str| data.get(key).is_some_and(|value| value.is_object() || id(data, key).is_some());
        let found = DATA_KEYS.iter().find(|(_, key)| has(key)).map(|(resource, _)| *resource);
        let agrees = DATA_KEYS.iter().any(|(resource, key)| *resource == named && has(key));
        let resource = match found {
            Some(found) if named.is_empty() => found,
            Some(found) if known && !agrees => {
                return Err(ApiError::invalid(format!(
                    "the header Sentry-Hook-Resource says \"{named}\", but the body is of kind \"{found}\""
                )));
            }
            _ => named,
        };
        Ok(Self { resource: resource.to_owned(), body, raw })
    }

    /// The resource: `error`, `event_alert`, `issue`, …
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The action: `created`, `triggered`, …; empty when it is missing.
    #[must_use]
    pub fn action(&self) -> &str {
        text(&self.body, "action").unwrap_or_default()
    }

    /// All of `data`; null when it is missing.
    #[must_use]
    pub fn whole(&self) -> &Value {
        self.body.get("data").unwrap_or(&Value::Null)
    }

    /// A part of `data`; null when it is missing.
    #[must_use]
    pub fn data(&self, key: &str) -> &Value {
        self.whole().get(key).unwrap_or(&Value::Null)
    }

    /// The kind of the actor: `user` or `application`. The name is never used.
    #[must_use]
    pub fn actor_kind(&self) -> Option<&str> {
        self.body
            .get("actor")
            .and_then(|actor| text(actor, "type"))
            .filter(|kind| ["user", "application"].contains(kind))
    }

    /// The raw body.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
}

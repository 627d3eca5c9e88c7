//! From bytes to a delivery: what kind it is, and its `data`. Any field may be missing, null or of another type.

use axum::http::HeaderMap;
use serde_json::{Map, Value};
use shared::http::{ApiError, read_json};
pub use shared::sentry_event::{id, items, text};

/// The kinds whose `data` has one key of its own: the header's word, and that key.
const DATA_KEYS: [(&str, &str); 5] = [
    ("error", "error"),
    ("event_alert", "event"),
    ("issue", "issue"),
    ("metric_alert", "metric_alert"),
    ("installation", "installation"),
];

/// One authentic delivery.
#[derive(Debug)]
pub struct Delivery {
    resource: String,
    body: Map<String, Value>,
}

impl Delivery {
    /// Reads the body. The header that names the resource is not signed: it must agree with the body, and where it
    /// is missing the body tells.
    ///
    /// # Errors
    /// 400 when the body is no JSON object, or is of another kind than the header says.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let named = headers.get("sentry-hook-resource").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let known = DATA_KEYS.iter().any(|(resource, _)| *resource == named);
        let body = match read_json(body) {
            Ok(Value::Object(body)) => body,
            // An empty body is what a UI component may send, and what we know nothing of may be anything.
            _ if body.is_empty() || !(known || named.is_empty()) => Map::new(),
            Ok(_) => return Err(ApiError::invalid("the body must be a JSON object")),
            Err(error) => return Err(error),
        };
        let told = |key: &str| body.get("data").and_then(|data| data.get(key)).is_some_and(Value::is_object);
        let found = DATA_KEYS.iter().find(|(_, key)| told(key)).map(|(resource, _)| *resource);
        let agrees = DATA_KEYS.iter().any(|(resource, key)| *resource == named && told(key));
        let resource = match found {
            Some(found) if named.is_empty() => found,
            Some(found) if known && !agrees => {
                return Err(ApiError::invalid(format!(
                    "the header Sentry-Hook-Resource says \"{named}\", but the body is of kind \"{found}\""
                )));
            }
            _ => named,
        };
        Ok(Self { resource: resource.to_owned(), body })
    }

    /// What it is about: `error`, `event_alert`, `issue`, …
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// What happened: `created`, `triggered`, …; empty when it is not told.
    #[must_use]
    pub fn action(&self) -> &str {
        self.body.get("action").and_then(Value::as_str).unwrap_or_default()
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
}

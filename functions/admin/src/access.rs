//! Authentication and request bodies: no body is read before its client has shown the token.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::http::{ApiError, not_json, read_body, read_json};
use shared::security::SecurityKind;

use crate::App;

impl App {
    /// Admits a request with the token that does not come from a page of another site; records wrong tokens and foreign
    /// pages.
    pub(crate) async fn admit(&self, parts: &Parts, now: DateTime<Utc>) -> Result<(), ApiError> {
        let Err(refused) = self.gate.check(parts) else { return Ok(()) };
        let kind = match refused.status() {
            StatusCode::UNAUTHORIZED => SecurityKind::WrongKey,
            StatusCode::FORBIDDEN => SecurityKind::ForeignOrigin,
            _ => return Err(refused),
        };
        let what = format!("admin routes: {}", refused.message());
        self.watch.refused_request(kind, what, parts, now).await;
        Err(refused)
    }

    /// Admits a request and parses its JSON; an empty body is an empty object, and needs no `Content-Type`.
    pub(crate) async fn take<T: DeserializeOwned>(&self, request: Request, now: DateTime<Utc>) -> Result<T, ApiError> {
        let (parts, body) = request.into_parts();
        self.admit(&parts, now).await?;
        let bytes = read_body(body).await?;
        if !bytes.is_empty() && !parts.headers.contains_key(CONTENT_TYPE) {
            return Err(not_json());
        }
        let value = if bytes.trim_ascii().is_empty() { json!({}) } else { read_json(&bytes)? };
        if !value.is_object() {
            return Err(ApiError::invalid("the body must be a JSON object"));
        }
        read(value)
    }
}

/// Parses a value; the message names the field.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value).map_err(|error| ApiError::invalid(format!("the body can't be used: {error}")))
}

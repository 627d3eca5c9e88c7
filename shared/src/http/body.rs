//! Reads a request's body, bounded in bytes and time, and parses JSON.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::ApiError;

/// The size limit of a JSON route's body, in bytes.
pub const JSON_BODY_BYTES: usize = 1024 * 1024;

/// The deadline for a whole body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Reads the whole body, up to the limit of a JSON route. Counted as it arrives: a larger one is not buffered.
///
/// # Errors
/// 413 when it is larger, 400 when the connection breaks in the middle, 408 when it takes too long.
pub async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    read_body_within(body, JSON_BODY_BYTES).await
}

/// Reads the whole body, as [`read_body`], up to another limit.
///
/// # Errors
/// As [`read_body`].
pub async fn read_body_within(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let slow = || ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not arrive in time");
    tokio::time::timeout(BODY_TIMEOUT, collect(body, limit)).await.unwrap_or_else(|_| Err(slow()))
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::invalid("the body ended too early"))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limit {
                return Err(ApiError::too_large(limit));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

/// Parses a body as JSON. A lone surrogate (JavaScript cuts strings in the middle of an emoji) is replaced by U+FFFD,
/// so that no error is lost.
///
/// # Errors
/// 400 when it is not JSON.
pub fn read_json(body: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::invalid("the body is not UTF-8"))?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    serde_json::from_str(text).or_else(|error| {
        serde_json::from_str(&without_lone_surrogates(text))
            .map_err(|_| ApiError::invalid(format!("the body is not JSON: {error}")))
    })
}

/// Replaces each unpaired `\uD800`…`\uDFFF` escape by `\uFFFD`.
fn without_lone_surrogates(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        clean.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match surrogate(rest) {
            Some(true) if surrogate(&rest[6..]) == Some(false) => 12,
            Some(_) => {
                clean.push_str("\\uFFFD");
                rest = &rest[6..];
                continue;
            }
            // Any other escape: the backslash and the character after it.
            None => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        clean.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    clean.push_str(rest);
    clean
}

/// Whether the text begins with the escape of a leading (true) or trailing (false) surrogate.
fn surrogate(text: &str) -> Option<bool> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(true),
        0xDC00..=0xDFFF => Some(false),
        _ => None,
    }
}

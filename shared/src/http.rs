//! The HTTP edge: one shape of error, one way to read a body, one way to tell who may call.
//!
//! Users: `report-error`, `sentry-webhook`, `sentry-envelope`, `status`, the local stack.

mod source;

use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use crate::store::StoreError;

pub use source::source_ip;

/// A JSON route's body may have this many bytes.
pub const JSON_BODY_BYTES: usize = 1024 * 1024;

/// A body that has not arrived by then is given up.
const BODY_PATIENCE: Duration = Duration::from_secs(15);

/// A caller that gets 503 may try again after this many seconds.
const RETRY_AFTER_SECONDS: &str = "2";

/// An answer that is not a success: `{"error": {"code": …, "message": …}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// 400: what the caller sent can't be understood; the message names the field.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 401: no key, or a wrong one.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 404.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 413: more than the route takes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// 503 with `Retry-After`: our fault, and passing.
    #[must_use]
    pub fn unavailable() -> Self {
        let message = "the database can't be reached; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// Any other status.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the caller's program is told.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What the caller is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for ApiError {
    /// The only mapping of store errors to statuses. What the caller may not see is logged here, once.
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Data(_) => {
                tracing::warn!(error = %crate::store::chain(error), "refused by the database");
                Self::invalid("the request holds a value that can't be stored")
            }
            StoreError::Unavailable(_) | StoreError::Raced(_) | StoreError::Timeout(_) | StoreError::Schema(_) => {
                tracing::error!(error = %crate::store::chain(error), "the database can't be used");
                Self::unavailable()
            }
            StoreError::Internal(_) => {
                tracing::error!(error = %crate::store::chain(error), "a statement failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"watchkeeper\""));
        }
        response
    }
}

/// Answers for paths and methods that no route has, in the same shape.
pub fn with_fallbacks(router: Router) -> Router {
    router.fallback(|| async { ApiError::not_found("no such path") }).method_not_allowed_fallback(|| async {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
    })
}

/// The whole body, if it is no larger than a JSON route takes. Counted as it arrives: a large one is not buffered.
///
/// # Errors
/// 413 when it is larger, 400 when the connection breaks in the middle, 408 when it takes too long.
pub async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    read_body_within(body, JSON_BODY_BYTES).await
}

/// The whole body, as [`read_body`], for a route with a limit of its own.
///
/// # Errors
/// As [`read_body`].
pub async fn read_body_within(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let slow = || ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not arrive in time");
    tokio::time::timeout(BODY_PATIENCE, collect(body, limit)).await.unwrap_or_else(|_| Err(slow()))
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

/// The JSON value that a body holds. Half a surrogate pair (a string cut in the middle of an emoji, as JavaScript sends it) is no
/// reason to lose an error: it is replaced by U+FFFD.
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

/// Replaces each `\uD800`…`\uDFFF` escape that has no partner by `\uFFFD`.
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

/// Whether strangers can reach the server that an App runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// It listens on the loopback interface only.
    Loopback,
    /// Anybody may send requests.
    Public,
}

/// Decides who may call a route.
#[derive(Debug, Clone)]
pub struct Gate {
    token: Option<SecretString>,
    exposure: Exposure,
    variable: &'static str,
}

impl Gate {
    /// A gate that this token opens. Without one it is open on the loopback interface and closed elsewhere;
    /// `variable` is where the token is configured.
    #[must_use]
    pub fn new(token: Option<SecretString>, exposure: Exposure, variable: &'static str) -> Self {
        Self { token, exposure, variable }
    }

    /// Lets the caller pass who sent the token as `Authorization: Bearer`, as the password of HTTP Basic, or as
    /// `X-Api-Key`.
    ///
    /// # Errors
    /// 401 for everybody else.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        match (&self.token, self.exposure) {
            (None, Exposure::Loopback) => refuse_other_sites(headers),
            (None, Exposure::Public) => {
                tracing::error!(variable = self.variable, "refused: no {} is configured", self.variable);
                Err(ApiError::unauthorized("this server has no key configured, so nobody may call it"))
            }
            (Some(token), _) => {
                let given = presented_token(headers)
                    .ok_or_else(|| ApiError::unauthorized("a key is needed: Authorization: Bearer KEY"))?;
                let right = given.as_bytes().ct_eq(token.expose_secret().as_bytes());
                if bool::from(right) { Ok(()) } else { Err(ApiError::unauthorized("the key is wrong")) }
            }
        }
    }
}

/// Who listens on the loopback interface without a key must not serve the pages of strangers that a browser shows:
/// neither by a name that was bound to this machine, nor by a request from another site.
fn refuse_other_sites(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host_is_ours = text("host").is_none_or(is_this_machine);
    let origin_is_ours =
        text("origin").is_none_or(|origin| origin.split_once("://").is_some_and(|(_, host)| is_this_machine(host)));
    if host_is_ours && origin_is_ours && text("sec-fetch-site") != Some("cross-site") {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "this server answers this machine only; configure a key to open it",
    ))
}

fn is_this_machine(place: &str) -> bool {
    let host = match place.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => place,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn presented_token(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(key) = text("x-api-key") {
        return Some(key.trim().to_owned());
    }
    let (scheme, credentials) = text(AUTHORIZATION.as_str())?.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(BASE64.decode(credentials.trim()).ok()?).ok()?;
        return decoded.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    fn gate(token: Option<&str>, exposure: Exposure) -> Gate {
        Gate::new(token.map(SecretString::from), exposure, "INGEST_API_KEY")
    }

    #[test]
    fn the_token_opens_in_each_of_its_three_forms() {
        let gate = gate(Some("s3cret"), Exposure::Public);
        for (name, value) in [
            ("x-api-key", "s3cret"),
            ("authorization", "Bearer s3cret"),
            ("authorization", "bearer  s3cret"),
            ("authorization", "Basic YW55Om8zM2NyZXQ6eA=="),
        ] {
            let passes = gate.check(&headers(name, value)).is_ok();
            assert_eq!(passes, !value.starts_with("Basic"), "{value}");
        }
        let basic = format!("Basic {}", BASE64.encode("anybody:s3cret"));
        assert!(gate.check(&headers("authorization", &basic)).is_ok());
    }

    #[test]
    fn everything_else_stays_outside() {
        let gate = gate(Some("s3cret"), Exposure::Loopback);
        for value in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretx", "Basic !!", "Digest s3cret"] {
            assert!(gate.check(&headers("authorization", value)).is_err(), "{value}");
        }
        assert!(gate.check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn an_open_server_is_closed_to_pages_of_other_sites() {
        let gate = gate(None, Exposure::Loopback);
        for (name, value, open) in [
            ("host", "localhost:8080", true),
            ("host", "127.0.0.1:8080", true),
            ("host", "[::1]:8080", true),
            ("host", "evil.example", false),
            ("host", "localhost.evil.example:8080", false),
            ("origin", "http://localhost:3000", true),
            ("origin", "https://evil.example", false),
            ("origin", "null", false),
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "cross-site", false),
        ] {
            assert_eq!(gate.check(&headers(name, value)).is_ok(), open, "{name}: {value}");
        }
    }

    #[test]
    fn without_a_token_only_the_loopback_interface_is_open() {
        assert!(gate(None, Exposure::Loopback).check(&HeaderMap::new()).is_ok());
        assert!(gate(None, Exposure::Public).check(&HeaderMap::new()).is_err());
    }
}

//! The HTTP edge: one shape of error, one way to read a body, one way to tell who may call.
//!
//! One file per concern: `body`, `gate` (who may call), `site` (whose page a request comes from), `source` (its address).
//!
//! Users: every HTTP function and the local stack.

mod body;
mod gate;
mod site;
mod source;

use axum::Router;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

pub use body::{JSON_BODY_BYTES, read_body, read_body_within, read_json};
pub use gate::{Exposure, Gate, not_json};
pub use site::is_foreign;
pub use source::{TrustedProxies, source_ip};

/// A caller that gets 503 may try again after this many seconds.
const RETRY_AFTER_SECONDS: &str = "2";

/// What a 401 asks for.
const BEARER_CHALLENGE: &str = "Bearer realm=\"watchkeeper\"";

/// What a 401 asks for on routes that only read. A browser remembers the password and sends it along with every later
/// request to this server, whichever page makes it: no route that changes something may ask for it or accept it.
const BASIC_CHALLENGE: &str = "Basic realm=\"watchkeeper\"";

/// An answer that is not a success: `{"error": {"code": …, "message": …}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    challenge: &'static str,
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

    /// 403: whoever sends it, it is not taken from there.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 415: the body is in no format that the route takes.
    #[must_use]
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
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
        Self { status, code, message: message.into(), challenge: BEARER_CHALLENGE }
    }

    /// The same, asking a browser for a password (HTTP Basic) where its status is 401.
    fn asking_for_password(self) -> Self {
        Self { challenge: BASIC_CHALLENGE, ..self }
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
            StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Timeout(_) | StoreError::Schema(_) => {
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
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
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

//! HTTP for all functions: error answers, reading of bodies, authorisation of callers.
//!
//! One file per concern: `body`, `gate` (authorisation), `site` (cross-site requests), `source` (source address).

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

/// The `Retry-After` of a 503, in seconds.
const RETRY_AFTER_SECONDS: &str = "2";

/// The challenge of a 401.
const BEARER_CHALLENGE: &str = "Bearer realm=\"watchkeeper\"";

/// The challenge of a 401 on routes that only read. A browser remembers the password and sends it with every later
/// request to this server, from any page: a route that changes something must neither ask for it nor accept it.
const BASIC_CHALLENGE: &str = "Basic realm=\"watchkeeper\"";

/// An error answer: `{"error": {"code": …, "message": …}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    challenge: &'static str,
}

impl ApiError {
    /// 400: the request is invalid; the message names the field.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 401: no key, or a wrong one.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403: the request is not accepted from its origin.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 415: the body's type is not supported.
    #[must_use]
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 404.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 413: the body exceeds the route's limit.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// 503 with `Retry-After`: a transient failure on our side.
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

    /// The same, with a Basic challenge if its status is 401.
    fn asking_for_password(self) -> Self {
        Self { challenge: BASIC_CHALLENGE, ..self }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The machine-readable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The message for people.
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
    /// The only mapping of store errors to statuses. Details that the caller may not see are logged here, once.
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

/// Answers unknown paths and methods with an error of the same shape.
pub fn with_fallbacks(router: Router) -> Router {
    router.fallback(|| async { ApiError::not_found("no such path") }).method_not_allowed_fallback(|| async {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
    })
}

//! Browsers: any page may report with a DSN, which is no secret, and may read why it was refused.
//!
//! Invariant: every answer of this function carries these headers, the refusals too. User: the routes.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// What SDKs send, and what their tracing adds to every request of a page.
const ALLOWED: &str = "Accept, Authorization, Baggage, Content-Encoding, Content-Type, Origin, Referer, Sentry-Trace, Traceparent, Transfer-Encoding, X-Requested-With, X-Sentry-Auth";

/// What they look at.
const EXPOSED: &str = "X-Sentry-Error, X-Sentry-Rate-Limits, Retry-After";

/// The answer to a preflight, good for an hour.
pub(crate) async fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED),
        (ACCESS_CONTROL_MAX_AGE, "3600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Lets pages of any origin read this answer.
pub(crate) async fn allow_pages(mut response: Response) -> Response {
    let mut set = |name: HeaderName, value: &'static str| {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    };
    set(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response
}

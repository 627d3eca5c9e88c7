//! CORS: which pages may report with a DSN (which is no secret) and read the answer.
//!
//! Without an allow-list, any page may. With one, a page of another origin is refused and can't read the reason. A
//! request without `Origin` and `Referer` does not come from a browser and is accepted: a client that can omit these
//! headers can also forge them.
//!
//! Invariant: every answer of this function has the CORS headers, refusals too.

use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, REFERER, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chrono::Utc;
use shared::model::{AllowedOrigins, Origin};
use shared::security::SecurityKind;

use crate::app::App;
use crate::credentials;
use crate::refusal::Refusal;

/// Headers that SDKs send, and those that their tracing adds to every request of a page.
const ALLOWED: &str = "Accept, Authorization, Baggage, Content-Encoding, Content-Type, Origin, Referer, Sentry-Trace, Traceparent, Transfer-Encoding, X-Requested-With, X-Sentry-Auth";

/// Headers that SDKs read.
const EXPOSED: &str = "X-Sentry-Error, X-Sentry-Rate-Limits, Retry-After";

/// Which pages may read an answer: an extension of the response; without it, any page may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Pages of any origin.
    Any,
    /// Pages of this origin.
    Origin(HeaderValue),
    /// No page.
    None,
}

impl Readers {
    /// Which pages may read the answer to a request with these headers.
    ///
    /// # Errors
    /// 403 when its page may not report.
    pub(crate) fn of(headers: &HeaderMap, allowed: &AllowedOrigins) -> Result<Self, Refusal> {
        if allowed.is_any() {
            return Ok(Self::Any);
        }
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let (has_origin, origin) = match text(ORIGIN) {
            Some(origin) => (true, Origin::of(origin)),
            // For same-origin requests and older browsers. A `Referer` that is no page's address is ignored.
            None => text(REFERER).and_then(Origin::of).map_or((false, None), |origin| (true, Some(origin))),
        };
        if has_origin && !allowed.allows(origin.as_ref()) {
            return Err(Refusal::Forbidden(FOREIGN, SecurityKind::ForeignOrigin));
        }
        Ok(headers.get(ORIGIN).map_or(Self::Any, |origin| Self::Origin(origin.clone())))
    }
}

impl Readers {
    /// Which pages may read a refusal whose application is not known.
    pub(crate) fn of_refusal(refusal: &Refusal) -> Self {
        if refusal.security_kind() == Some(SecurityKind::ForeignOrigin) { Self::None } else { Self::Any }
    }
}

/// The refusal of a page that may not report.
const FOREIGN: &str = "pages of this origin may not report to this project";

/// Answers a preflight; cached for an hour. With a key in the query, as browsers' SDKs send it, the page's origin is
/// checked; without one, it is checked with the request itself.
pub(crate) async fn preflight(State(app): State<App>, Path(project): Path<String>, request: Request) -> Response {
    let key = credentials::presented(&HeaderMap::new(), request.uri().query());
    let readers = match (key, project.parse()) {
        (Some(key), Ok(project)) => match app.verify(Some(&key), project) {
            Ok(version) => app.readers(project, version, request.headers(), Utc::now()).await,
            Err(refusal) => Err(refusal),
        },
        _ => Ok(Readers::Any),
    };
    let mut response = match readers {
        Ok(readers) => {
            let headers = [
                (ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
                (ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED),
                (ACCESS_CONTROL_MAX_AGE, "3600"),
            ];
            let mut response = (StatusCode::NO_CONTENT, headers).into_response();
            response.extensions_mut().insert(readers);
            response
        }
        Err(refusal) => {
            let readers = Readers::of_refusal(&refusal);
            let mut response = refusal.into_response();
            response.extensions_mut().insert(readers);
            response
        }
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    response
}

/// Adds the CORS headers.
pub(crate) async fn allow_pages(mut response: Response) -> Response {
    let readers = response.extensions_mut().remove().unwrap_or(Readers::Any);
    let headers = response.headers_mut();
    let origin = match readers {
        Readers::Any => HeaderValue::from_static("*"),
        Readers::Origin(origin) => origin,
        Readers::None => return response,
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    response
}

#[cfg(test)]
mod tests {
    use shared::model::AllowedOrigin;

    use super::*;

    #[test]
    fn the_origin_is_checked_else_the_referer_and_requests_without_both_are_allowed() {
        let allowed = AllowedOrigins::new(vec![AllowedOrigin::parse("https://shop.example.com").unwrap()]);
        let echoed = |origin: &'static str| Some(Readers::Origin(HeaderValue::from_static(origin)));
        for (origin, referer, expected) in [
            (Some("https://shop.example.com"), None, echoed("https://shop.example.com")),
            (Some("https://shop.example.com"), Some("https://evil.org/"), echoed("https://shop.example.com")),
            (Some("https://evil.org"), Some("https://shop.example.com/"), None),
            (Some("null"), None, None),
            (Some(""), None, None),
            (None, Some("https://shop.example.com/cart"), Some(Readers::Any)),
            (None, Some("https://evil.org/cart"), None),
            (None, Some("about:client"), Some(Readers::Any)),
            (None, None, Some(Readers::Any)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(ORIGIN, origin), (REFERER, referer)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(Readers::of(&headers, &allowed).ok(), expected, "{origin:?} {referer:?}");
            assert_eq!(Readers::of(&headers, &AllowedOrigins::default()), Ok(Readers::Any));
        }
    }
}

//! Browsers: which pages may report with a DSN, which is no secret, and may read the answer.
//!
//! Where an application names no origins, any page may. Else a page of another origin is refused, and may not read why. A
//! request without `Origin` and `Referer` is none of a browser, and is taken: whoever is free to leave them out is free to
//! make them up.
//!
//! Invariant: every answer of this function carries these headers, the refusals too. User: the routes.

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

/// What SDKs send, and what their tracing adds to every request of a page.
const ALLOWED: &str = "Accept, Authorization, Baggage, Content-Encoding, Content-Type, Origin, Referer, Sentry-Trace, Traceparent, Transfer-Encoding, X-Requested-With, X-Sentry-Auth";

/// What they look at.
const EXPOSED: &str = "X-Sentry-Error, X-Sentry-Rate-Limits, Retry-After";

/// Which pages may read an answer. An answer carries it among its extensions; without it, any page may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Pages of any origin.
    Any,
    /// Those of this one.
    Origin(HeaderValue),
    /// None.
    Nobody,
}

impl Readers {
    /// Who may read the answer to a request with these headers.
    ///
    /// # Errors
    /// 403 when its page may not report.
    pub(crate) fn of(headers: &HeaderMap, allowed: &AllowedOrigins) -> Result<Self, Refusal> {
        if allowed.is_any() {
            return Ok(Self::Any);
        }
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let (told, origin) = match text(ORIGIN) {
            Some(told) => (true, Origin::of(told)),
            // Pages of their own origin and older browsers. What is no address of a page is no page.
            None => text(REFERER).and_then(Origin::of).map_or((false, None), |origin| (true, Some(origin))),
        };
        if told && !allowed.allows(origin.as_ref()) {
            return Err(Refusal::Forbidden(FOREIGN, SecurityKind::ForeignOrigin));
        }
        Ok(headers.get(ORIGIN).map_or(Self::Any, |origin| Self::Origin(origin.clone())))
    }
}

impl Readers {
    /// Who may read why a request was refused, where its application is not known.
    pub(crate) fn of_refusal(refusal: &Refusal) -> Self {
        if refusal.security_kind() == Some(SecurityKind::ForeignOrigin) { Self::Nobody } else { Self::Any }
    }
}

/// What a page is told that may not report.
const FOREIGN: &str = "pages of this origin may not report to this project";

/// The answer to a preflight, good for an hour. A key in the query, where browsers' SDKs have it, tells which pages may
/// report; without one that is told with the request itself.
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

/// Lets the pages read this answer that may.
pub(crate) async fn allow_pages(mut response: Response) -> Response {
    let readers = response.extensions_mut().remove().unwrap_or(Readers::Any);
    let headers = response.headers_mut();
    let origin = match readers {
        Readers::Any => HeaderValue::from_static("*"),
        Readers::Origin(origin) => origin,
        Readers::Nobody => return response,
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
    fn a_page_is_known_by_its_origin_else_by_its_referrer_and_a_program_by_neither() {
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

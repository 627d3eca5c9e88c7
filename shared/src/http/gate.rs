//! Authorises callers of a route, by the route's purpose.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::{Choice, ConstantTimeEq as _};

use super::{ApiError, site};

/// Whether external clients can reach the server that an App runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// It listens on the loopback interface only.
    Loopback,
    /// Any client can send requests.
    Public,
}

/// The purpose of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reporting(Exposure),
    Reading,
    Changing,
}

impl Purpose {
    /// The variable with its token.
    fn variable(self) -> &'static str {
        match self {
            Self::Reporting(_) => "INGEST_API_KEY",
            Self::Reading => "READ_TOKEN",
            Self::Changing => "ADMIN_TOKEN",
        }
    }
}

/// Authorises the callers of a route by a token in `Authorization: Bearer` or `X-Api-Key`.
#[derive(Debug, Clone)]
pub struct Gate {
    purpose: Purpose,
    token: Option<SecretString>,
}

impl Gate {
    /// For routes that receive reports. Without a key, a server on the loopback interface accepts requests of local
    /// programs; any other accepts none.
    #[must_use]
    pub fn reporting(key: Option<SecretString>, exposure: Exposure) -> Self {
        Self { purpose: Purpose::Reporting(exposure), token: key }
    }

    /// For routes that read: the token may also be the password of HTTP Basic, for browsers. Closed without a token.
    #[must_use]
    pub fn reading(token: Option<SecretString>) -> Self {
        Self { purpose: Purpose::Reading, token }
    }

    /// For routes that change something. Pages of other sites are refused, and so are bodies that a page can send
    /// without a CORS preflight (anything but `application/json`), with or without the token. Closed without a token.
    #[must_use]
    pub fn changing(token: Option<SecretString>) -> Self {
        Self { purpose: Purpose::Changing, token }
    }

    /// Authorises a request.
    ///
    /// # Errors
    /// 403 for a page of another site (and, where no key is needed, for any request that is not local), 401 without the
    /// token, 415 for a body that is not JSON on a route that changes something.
    pub fn check(&self, parts: &Parts) -> Result<(), ApiError> {
        if self.purpose == Purpose::Changing && site::is_foreign(parts) {
            return Err(ApiError::forbidden("pages of other sites may not change anything here"));
        }
        match (&self.token, self.purpose) {
            (Some(token), _) => self.check_token(token, &parts.headers)?,
            (None, Purpose::Reporting(Exposure::Loopback)) => self.check_own(parts)?,
            (None, _) => {
                let variable = self.purpose.variable();
                tracing::error!(variable, "refused: no {variable} is configured");
                return Err(
                    self.unauthorized(format!("this server has no {variable} configured, so no caller is authorised"))
                );
            }
        }
        if self.purpose == Purpose::Changing { check_json(&parts.headers) } else { Ok(()) }
    }

    fn check_own(&self, parts: &Parts) -> Result<(), ApiError> {
        let Some(reason) = site::reason_to_refuse(parts) else { return Ok(()) };
        let variable = self.purpose.variable();
        Err(ApiError::forbidden(format!(
            "refused: {reason}. Without a key this server accepts requests of local programs only: set \
             {variable} where it runs, and send that as Authorization: Bearer"
        )))
    }

    fn check_token(&self, token: &SecretString, headers: &HeaderMap) -> Result<(), ApiError> {
        let expected = token.expose_secret().as_bytes();
        let [key, authorization] = ["x-api-key", AUTHORIZATION.as_str()].map(|name| single(headers, name));
        let key = key.map_err(|error| self.unauthorized(error))?.map(str::to_owned);
        let credentials = authorization.map_err(|error| self.unauthorized(error))?.and_then(|it| self.credentials(it));
        if key.is_none() && credentials.is_none() {
            return Err(self.unauthorized("a key is needed: Authorization: Bearer KEY, or X-Api-Key: KEY"));
        }
        // One of the two may be meant for another receiver, such as a proxy.
        let is_right = [key, credentials]
            .iter()
            .flatten()
            .fold(Choice::from(0), |is_right, offered| is_right | offered.as_bytes().ct_eq(expected));
        // An empty token counts as not configured.
        if bool::from(is_right) && !expected.is_empty() { Ok(()) } else { Err(self.unauthorized("the key is wrong")) }
    }

    /// The token of an `Authorization` header; none if its scheme is not accepted here.
    fn credentials(&self, authorization: &str) -> Option<String> {
        let (scheme, credentials) = authorization.trim().split_once(' ')?;
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(credentials.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") || self.purpose != Purpose::Reading {
            return None;
        }
        let pair = String::from_utf8(BASE64.decode(credentials).ok()?).ok()?;
        pair.split_once(':').map(|(_, password)| password.to_owned())
    }

    /// 401, with a Basic challenge on routes that only read.
    fn unauthorized(&self, message: impl Into<String>) -> ApiError {
        let error = ApiError::unauthorized(message);
        if self.purpose == Purpose::Reading { error.asking_for_password() } else { error }
    }
}

/// The value of a header that may be sent only once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(format!("{name} is sent more than once")),
        (value, None) => Ok(value.and_then(|value| value.to_str().ok()).map(str::trim)),
    }
}

/// Refuses a body whose type is not JSON. Without a type, the reader of the body refuses all but an empty one.
fn check_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_json = |value: &HeaderValue| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    };
    let values = headers.get_all(CONTENT_TYPE);
    if values.iter().count() <= 1 && values.iter().all(is_json) { Ok(()) } else { Err(not_json()) }
}

/// 415: a body of another type than `application/json`, which a page of another site could send.
#[must_use]
pub fn not_json() -> ApiError {
    ApiError::unsupported_media_type("Content-Type must be application/json")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;
    use axum::http::Request;

    use super::*;

    const TOKEN: &str = "sixteen-character";

    fn secret() -> Option<SecretString> {
        Some(SecretString::from(TOKEN))
    }

    fn each_gate(token: Option<SecretString>) -> [Gate; 4] {
        [
            Gate::reporting(token.clone(), Exposure::Loopback),
            Gate::reporting(token.clone(), Exposure::Public),
            Gate::reading(token.clone()),
            Gate::changing(token),
        ]
    }

    /// The status of the answer to a request with these headers; 200 where it passes.
    fn status(gate: &Gate, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method("POST").uri("/").header("host", "localhost:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 50_000))));
        gate.check(&parts).map_or_else(|error| error.status().as_u16(), |()| 200)
    }

    #[test]
    fn the_token_is_accepted_as_bearer_as_key_and_for_reading_as_password() {
        let basic = format!("Basic {}", BASE64.encode(format!("user:{TOKEN}")));
        for gate in each_gate(secret()) {
            for authorization in [format!("Bearer {TOKEN}"), format!("bearer  {TOKEN}")] {
                assert_eq!(status(&gate, &[("authorization", &authorization)]), 200, "{authorization}");
            }
            assert_eq!(status(&gate, &[("x-api-key", TOKEN)]), 200);
            let reads = gate.purpose == Purpose::Reading;
            assert_eq!(status(&gate, &[("authorization", &basic)]), if reads { 200 } else { 401 });
            // A browser adds the remembered password to a page's own headers.
            assert_eq!(status(&gate, &[("x-api-key", TOKEN), ("authorization", &basic)]), 200);
            assert_eq!(
                status(&gate, &[("x-api-key", "of-the-gateway"), ("authorization", &format!("Bearer {TOKEN}"))]),
                200
            );
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let bearer = format!("Bearer {TOKEN}");
        for gate in each_gate(secret()) {
            assert_eq!(status(&gate, &[]), 401);
            for value in
                ["", "Bearer", "Bearer ", "Bearer sixteen", TOKEN, "Basic !!", "Basic Og==", &format!("{bearer}x")]
            {
                assert_eq!(status(&gate, &[("authorization", value)]), 401, "{value}");
            }
            for value in ["", "sixteen-characte", &bearer] {
                assert_eq!(status(&gate, &[("x-api-key", value)]), 401, "{value}");
            }
            assert_eq!(status(&gate, &[("authorization", &bearer), ("authorization", &bearer)]), 401, "which one?");
            assert_eq!(status(&gate, &[("x-api-key", TOKEN), ("x-api-key", "other")]), 401, "which one?");
        }
    }

    #[test]
    fn only_a_server_on_the_loopback_interface_takes_reports_without_a_key() {
        for (gate, open) in each_gate(None).iter().zip([200, 401, 401, 401]) {
            assert_eq!(status(gate, &[]), open, "{gate:?}");
        }
        for empty in each_gate(Some(SecretString::from(""))) {
            for headers in [("authorization", "Bearer "), ("x-api-key", ""), ("authorization", "Basic Og==")] {
                assert_eq!(status(&empty, &[headers]), 401, "{headers:?}");
            }
        }
        let own = Gate::reporting(None, Exposure::Loopback);
        assert_eq!(status(&own, &[("origin", "http://localhost:3000")]), 403);
        assert_eq!(status(&own, &[("x-forwarded-for", "203.0.113.7")]), 403);
    }

    #[test]
    fn a_page_of_another_site_changes_nothing_with_and_without_the_token() {
        let bearer = format!("Bearer {TOKEN}");
        for token in [None, secret()] {
            let gate = Gate::changing(token);
            for foreign in [
                ("origin", "https://evil.example"),
                ("origin", "http://localhost:3000"),
                ("origin", "null"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
            ] {
                assert_eq!(status(&gate, &[foreign]), 403, "{foreign:?}");
                assert_eq!(status(&gate, &[foreign, ("authorization", &bearer)]), 403, "{foreign:?}");
            }
        }
        let own = [("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin"), ("authorization", &bearer)];
        assert_eq!(status(&Gate::changing(secret()), &own), 200);
        let reading = [("sec-fetch-site", "cross-site"), ("authorization", &bearer)];
        assert_eq!(status(&Gate::reading(secret()), &reading), 200, "a link to a page that only shows");
    }

    #[test]
    fn only_json_changes_anything() {
        let gate = Gate::changing(secret());
        for (types, expected) in [
            (&[][..], 200),
            (&["application/json"], 200),
            (&["Application/JSON; charset=utf-8"], 200),
            (&["text/plain"], 415),
            (&["text/plain; application/json"], 415),
            (&["application/json, text/plain"], 415),
            (&["application/json", "text/plain"], 415),
            (&["application/x-www-form-urlencoded"], 415),
            (&["multipart/form-data; boundary=x"], 415),
            (&["application/jsonp"], 415),
            (&["text/json"], 415),
            (&[""], 415),
        ] {
            let bearer = format!("Bearer {TOKEN}");
            let mut headers = vec![("authorization", bearer.as_str())];
            headers.extend(types.iter().map(|value| ("content-type", *value)));
            assert_eq!(status(&gate, &headers), expected, "{types:?}");
        }
    }

    #[test]
    fn a_browser_is_asked_for_a_password_by_routes_that_only_read() {
        for gate in each_gate(secret()) {
            let parts = Request::builder().body(()).unwrap().into_parts().0;
            let response = axum::response::IntoResponse::into_response(gate.check(&parts).unwrap_err());
            let asks = response.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic");
            assert_eq!(asks, gate.purpose == Purpose::Reading, "{gate:?}");
        }
    }
}

//! Finds a request's key: Sentry's SDKs send it in a header, browsers in the query (which needs no preflight), tunnels
//! in the envelope itself.
//!
//! `shared::dsn` verifies it; `shared::applications` checks revocation and quotas.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sentry_types::{Auth, Dsn};

/// The public key from the request's headers or query, whichever has one first.
#[must_use]
pub fn presented(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let in_header = |name: &str| {
        // Names in any case: proxies and hand-written clients change it. Our keys are lower-case.
        let value = headers.get(name)?.to_str().ok()?.trim().to_ascii_lowercase();
        value.parse::<Auth>().ok()
    };
    let in_query = || Auth::from_querystring(query?.to_ascii_lowercase().as_bytes()).ok();
    let auth = in_header("x-sentry-auth").or_else(|| in_header(AUTHORIZATION.as_str())).or_else(in_query)?;
    Some(auth.public_key().trim().to_owned())
}

/// The public key in a DSN, if it is this project's.
#[must_use]
pub fn in_dsn(dsn: &str, project: i64) -> Option<String> {
    let dsn: Dsn = dsn.trim().parse().ok()?;
    let is_its_own = dsn.project_id().value().parse() == Ok(project);
    is_its_own.then(|| dsn.public_key().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_key_is_found_in_each_place_that_sdks_use() {
        for (name, value) in [
            ("x-sentry-auth", "Sentry sentry_key=abc, sentry_version=7, sentry_client=sentry.python/2.75.0"),
            ("x-sentry-auth", "Sentry sentry_version=7,sentry_key=abc,sentry_client=x"),
            ("x-sentry-auth", "sentry SENTRY_KEY=ABC, Sentry_Version=7"),
            ("x-sentry-auth", "Sentry sentry_key=abc, sentry_secret=def, sentry_timestamp=1"),
            ("x-sentry-auth", "Sentry sentry_key=abc"),
            ("authorization", "Sentry sentry_key=abc, sentry_version=7"),
            ("authorization", "SENTRY sentry_key = abc"),
        ] {
            assert_eq!(presented(&headers(name, value), None).as_deref(), Some("abc"), "{value}");
        }
        for query in [
            "sentry_version=7&sentry_key=abc&sentry_client=sentry.javascript.node%2F11.12.0",
            "sentry_key=abc",
            "Sentry_Key=ABC&x=%zz",
            "sentry_key=ab%63",
        ] {
            assert_eq!(presented(&HeaderMap::new(), Some(query)).as_deref(), Some("abc"), "{query}");
        }
    }

    #[test]
    fn another_kind_of_authorization_is_ignored() {
        let basic = headers("authorization", "Basic YW55Om8zM2NyZXQ=");
        assert_eq!(presented(&basic, Some("sentry_key=abc")).as_deref(), Some("abc"));
        assert_eq!(presented(&basic, None), None);
    }

    #[test]
    fn malformed_credentials_are_none() {
        for value in
            ["", "Sentry", "Sentry ", "Sentry sentry_key=", "Bearer sentry_key=abc", "sentry_key=abc", "Sentry =,=,,"]
        {
            assert_eq!(presented(&headers("x-sentry-auth", value), None), None, "{value}");
        }
        for query in ["", "sentry_key=", "key=abc", "sentry_key"] {
            assert_eq!(presented(&HeaderMap::new(), Some(query)), None, "{query}");
        }
    }

    #[test]
    fn a_dsn_is_valid_for_its_own_project_only() {
        assert_eq!(in_dsn("https://abc@watchkeeper.example/7", 7).as_deref(), Some("abc"));
        assert_eq!(in_dsn("http://ABC:secret@127.0.0.1:8080/path/7", 7).as_deref(), Some("abc"));
        for wrong in
            ["https://abc@watchkeeper.example/8", "https://watchkeeper.example/7", "", "7", "https://abc@x/07x"]
        {
            assert_eq!(in_dsn(wrong, 7), None, "{wrong}");
        }
    }
}

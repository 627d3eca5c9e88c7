//! Follows redirects: the next address, and which headers and body go there. Pure.

use bytes::Bytes;
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use shared::model::FailureReason;

use super::super::Failure;
use super::request::Outgoing;

/// Headers that are sent only to the original origin.
const CREDENTIALS: [HeaderName; 4] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::HOST];

/// A header whose name contains one of these is treated as a credential.
const CREDENTIAL_PARTS: [&str; 6] = ["key", "token", "secret", "auth", "session", "credential"];

/// The redirect's address, if the answer is a redirect.
pub(super) fn location(status: u16, headers: &HeaderMap) -> Option<HeaderValue> {
    matches!(status, 301 | 302 | 303 | 307 | 308).then(|| headers.get(header::LOCATION).cloned()).flatten()
}

/// The request that follows.
pub(super) fn next(mut request: Outgoing, status: u16, location: HeaderValue) -> Result<Outgoing, Failure> {
    let wrong = |what: &str| Failure::new(FailureReason::Redirect, what);
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| wrong("it redirects to an invalid address"))?;
    let mut url = request.url.join(location).map_err(|_| wrong("it redirects to an invalid address"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it redirects to something other than http"));
    }
    let fails_without_host = url.set_username("").and_then(|()| url.set_password(None));
    fails_without_host.map_err(|()| wrong("it redirects to an invalid address"))?;
    if status == 303 && request.method != Method::HEAD || matches!(status, 301 | 302) && request.method == Method::POST
    {
        request.method = Method::GET;
        request.body = Bytes::new();
        request.body_is_secret = false;
        request.headers.remove(header::CONTENT_TYPE);
    }
    if url.origin() != request.url.origin() {
        if request.body_is_secret {
            return Err(wrong("it redirects to another origin, which must not receive the secret in the body"));
        }
        request.headers = std::mem::take(&mut request.headers)
            .into_iter()
            .filter_map(|(name, value)| Some((name?, value)))
            .filter(|(name, value)| !value.is_sensitive() && !is_credential(name))
            .collect();
    }
    request.url = url;
    Ok(request)
}

fn is_credential(name: &HeaderName) -> bool {
    CREDENTIALS.contains(name) || CREDENTIAL_PARTS.iter().any(|part| name.as_str().contains(part))
}

#[cfg(test)]
mod tests {
    use shared::config::Secrets;
    use shared::model::ServiceSpec;

    use super::super::super::secrets::Sent;
    use super::*;

    fn request(method: &str, target: &str, body: Option<&str>) -> Outgoing {
        let mut spec = ServiceSpec::http("x", "production", target);
        spec.check.method = method.into();
        spec.check.body = body.map(str::to_owned);
        for (name, value) in [
            ("Authorization", "Bearer x"),
            ("Cookie", "a=b"),
            ("X-Api-Key", "k"),
            ("X-Hidden", "${PROBE_SECRET_A}"),
            ("X-Plain", "yes"),
            ("Host", "inside.example"),
            ("Content-Type", "text/plain"),
        ] {
            spec.check.headers.insert(name.into(), value.into());
        }
        let secrets = Secrets::from_lookup(|_| Some("s3cret".into()));
        Outgoing::of(&spec, &mut Sent::default(), &secrets).unwrap()
    }

    fn names(request: &Outgoing) -> Vec<&str> {
        let mut names: Vec<&str> = request.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names.retain(|name| !["accept", "accept-encoding", "user-agent"].contains(name));
        names
    }

    fn follow(request: Outgoing, status: u16, location: &str) -> Result<Outgoing, Failure> {
        next(request, status, HeaderValue::from_str(location).unwrap())
    }

    #[test]
    fn credentials_are_not_sent_to_another_origin() {
        let original = || request("GET", "https://u:p@shop.example/health", None);
        let all = ["authorization", "content-type", "cookie", "host", "x-api-key", "x-hidden", "x-plain"];
        assert_eq!(names(&follow(original(), 302, "/login").unwrap()), all);
        assert_eq!(names(&follow(original(), 302, "https://shop.example:443/x").unwrap()), all);
        for elsewhere in
            ["https://other.example/", "//other.example/", "http://shop.example/", "https://shop.example:444/"]
        {
            assert_eq!(names(&follow(original(), 302, elsewhere).unwrap()), ["content-type", "x-plain"], "{elsewhere}");
        }
    }

    #[test]
    fn method_and_body_are_kept_only_where_the_status_says_so() {
        for (status, method, after) in [
            (301, "POST", "GET"),
            (302, "POST", "GET"),
            (303, "POST", "GET"),
            (303, "PUT", "GET"),
            (303, "HEAD", "HEAD"),
            (301, "PUT", "PUT"),
            (307, "POST", "POST"),
            (308, "POST", "POST"),
        ] {
            let next = follow(request(method, "https://shop.example/", Some("form")), status, "/next").unwrap();
            assert_eq!(next.method.as_str(), after, "{status} {method}");
            assert_eq!(next.body.is_empty(), after == "GET", "{status} {method}");
        }
    }

    #[test]
    fn a_secret_body_is_not_sent_to_another_origin() {
        let original = || request("POST", "https://shop.example/", Some("${PROBE_SECRET_A}"));
        assert!(follow(original(), 307, "/next").is_ok());
        assert!(follow(original(), 302, "https://other.example/").is_ok());
        let failure = follow(original(), 307, "https://other.example/").unwrap_err();
        assert_eq!(failure.reason, FailureReason::Redirect);
        assert!(!failure.text.contains("s3cret"));
    }

    #[test]
    fn only_http_is_followed_and_no_credentials_are_taken_from_a_redirect() {
        let original = || request("GET", "https://shop.example/a/b", None);
        for location in ["ftp://x/", "file:///etc/passwd", "javascript:alert(1)", "https://", "data:x"] {
            assert!(follow(original(), 302, location).is_err(), "{location}");
        }
        assert_eq!(follow(original(), 302, "https://u:p@x.example/").unwrap().url.as_str(), "https://x.example/");
        assert_eq!(follow(original(), 302, "c?d=1").unwrap().url.as_str(), "https://shop.example/a/c?d=1");
        assert_eq!(location(200, &HeaderMap::new()), None);
        assert_eq!(location(302, &HeaderMap::new()), None);
    }
}

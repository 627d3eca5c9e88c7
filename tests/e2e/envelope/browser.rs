//! Browsers: preflights, CORS headers on answers, the key in the query, plain-text bodies.

use harness::Answer;
use shared::model::{AllowedOrigin, AllowedOrigins, ApplicationChanges};

use super::{Sdk, envelope, event};

const ORIGIN: &str = "https://shop.example.com";

#[tokio::test]
async fn a_preflight_is_answered_on_every_route() {
    let sdk = Sdk::start().await;
    for route in ["envelope/", "envelope", "store/", "store"] {
        let request = sdk
            .stack
            .request("OPTIONS", &format!("/api/{}/{route}", sdk.project))
            .header("origin", ORIGIN)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,x-sentry-auth,content-encoding,sentry-trace,baggage",
            );
        let answer = sdk.stack.send(request).await;
        assert_eq!(answer.status, 204, "{route}");
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_ascii_lowercase();
        assert_eq!(header("access-control-allow-origin"), "*");
        assert!(header("access-control-allow-methods").contains("post"));
        for needed in ["x-sentry-auth", "content-type", "content-encoding", "sentry-trace", "baggage"] {
            assert!(header("access-control-allow-headers").split(", ").any(|name| name == needed), "{needed}");
        }
    }
}

#[tokio::test]
async fn a_plain_text_envelope_with_the_key_in_the_query_becomes_an_incident() {
    let sdk = Sdk::start().await;
    let path = format!(
        "/api/{}/envelope/?sentry_version=7&sentry_key={}&sentry_client=sentry.javascript.browser%2F10.0.0",
        sdk.project, sdk.key
    );
    let request = sdk
        .stack
        .request("POST", &path)
        .header("origin", ORIGIN)
        .header("referer", "https://shop.example.com/cart")
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "cors")
        .header("content-type", "text/plain;charset=UTF-8")
        .body(envelope(&[("event", &event("Cannot read property 'total' of undefined").to_string())]));
    let answer = sdk.stack.send(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(sdk.incidents().await, 1);
}

#[tokio::test]
async fn a_page_may_read_the_reason_of_a_refusal() {
    let sdk = Sdk::start().await;
    let path = format!("/api/{}/envelope/?sentry_key=wrong", sdk.project);
    let answer = sdk.stack.send(sdk.stack.request("POST", &path).header("origin", ORIGIN).body("{}")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap().to_ascii_lowercase();
    for needed in ["x-sentry-error", "x-sentry-rate-limits", "retry-after"] {
        assert!(exposed.contains(needed), "{needed}");
    }
}

#[tokio::test]
async fn a_tunnel_sends_the_dsn_in_the_envelope() {
    let sdk = Sdk::start().await;
    let path = format!("/api/{}/envelope/", sdk.project);
    for (dsn, status) in [
        (sdk.stack.dsn(sdk.project), 200),
        (sdk.stack.dsn(sdk.project + 1), 403),
        (format!("https://wrong@watchkeeper.example/{}", sdk.project), 403),
        ("no DSN".to_owned(), 403),
    ] {
        let body = format!("{{\"dsn\":\"{dsn}\"}}\n{{\"type\":\"event\"}}\n{}\n", event("tunnelled"));
        let answer = sdk.stack.send(sdk.stack.request("POST", &path).body(body)).await;
        assert_eq!(answer.status, status, "{dsn}: {answer:?}");
    }
    assert_eq!(sdk.incidents().await, 1);
}

/// An application with these allowed origins.
async fn restricted(origins: &[&str]) -> Sdk {
    let entries = origins.iter().map(|origin| AllowedOrigin::parse(origin).unwrap()).collect();
    let allowed_origins = Some(AllowedOrigins::new(entries));
    Sdk::limited(ApplicationChanges { allowed_origins, ..ApplicationChanges::default() }).await
}

/// Sends as a page of this origin does, with the key in the query; without an origin, as a program.
async fn send(sdk: &Sdk, method: &str, route: &str, origin: Option<&str>) -> Answer {
    let request = sdk.stack.request(method, &format!("/api/{}/{route}?sentry_key={}", sdk.project, sdk.key));
    let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
    let error = event("from a page").to_string();
    sdk.stack.send(request.body(if route == "store/" { error } else { envelope(&[("event", &error)]) })).await
}

fn allowed_origin(answer: &Answer) -> Option<&str> {
    answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn only_pages_of_allowed_origins_may_report_and_read_the_answer() {
    let sdk = restricted(&[ORIGIN, "*.example.org"]).await;
    for route in ["envelope/", "store/"] {
        for (origin, is_allowed) in [
            (ORIGIN, true),
            ("http://localhost.example.org:3000", true),
            ("http://shop.example.com", false),
            ("https://shop.example.com.evil.net", false),
            ("null", false),
        ] {
            let preflight = send(&sdk, "OPTIONS", route, Some(origin)).await;
            let answer = send(&sdk, "POST", route, Some(origin)).await;
            let statuses = if is_allowed { (204, 200) } else { (403, 403) };
            assert_eq!((preflight.status, answer.status), statuses, "{route} {origin}");
            for answer in [preflight, answer] {
                assert_eq!(allowed_origin(&answer), is_allowed.then_some(origin), "{route} {origin}");
                assert!(answer.headers.get_all("vary").iter().any(|value| value == "Origin"), "{route} {origin}");
            }
        }
        let program = send(&sdk, "POST", route, None).await;
        assert_eq!(program.status, 200, "a program sends no origin, and could forge one");
    }
    let path = format!("/api/{}/envelope/", sdk.project);
    let referred =
        sdk.stack.request("POST", &format!("{path}?sentry_key={}", sdk.key)).header("referer", "http://evil.net/");
    assert_eq!(sdk.stack.send(referred.body("{}\n")).await.status, 403, "an older browser");
    // A tunnel's key is known only after the body is read.
    let body = format!("{{\"dsn\":\"{}\"}}\n{{\"type\":\"event\"}}\n{{}}\n", sdk.stack.dsn(sdk.project));
    let answer = sdk.stack.send(sdk.stack.request("POST", &path).header("origin", "http://evil.net").body(body)).await;
    assert_eq!((answer.status, allowed_origin(&answer)), (403, None));
    let occurrences: i64 = sdk.stack.database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!(occurrences, 2 * 3);
    let database = sdk.stack.stop().await;
    assert_eq!(database.networks_refused("WHERE event_type = 'foreign_origin'").await, 1);
}

#[tokio::test]
async fn a_preflight_without_the_key_is_answered_and_with_a_wrong_key_refused() {
    let sdk = restricted(&[ORIGIN]).await;
    let path = format!("/api/{}/envelope/", sdk.project);
    let preflight =
        async |path: &str| sdk.stack.send(sdk.stack.request("OPTIONS", path).header("origin", "http://evil.net")).await;
    let answer = preflight(&path).await;
    assert_eq!((answer.status, allowed_origin(&answer)), (204, Some("*")), "the request itself is refused");
    assert_eq!(preflight(&format!("{path}?sentry_key=wrong")).await.status, 403);
}

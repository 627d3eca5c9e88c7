//! What browsers need: preflights, answers that pages may read, the key in the query, plain text.

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
async fn a_browser_s_plain_text_with_the_key_in_the_query_becomes_an_incident() {
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
async fn a_page_may_read_why_it_was_refused() {
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
async fn a_tunnel_brings_the_dsn_in_the_envelope() {
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

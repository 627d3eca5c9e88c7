//! The real Lambda binary, invoked with API Gateway's events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::TestStack;
use harness::lambda::Lambda;
use serde_json::{Value, json};
use shared::dsn::{KeyVersion, PublicKey};

use super::hostile::gzip;
use super::{Sdk, capture};

/// Sends a request as API Gateway's HTTP API does, with the body in base64; status and body of the answer.
async fn request(lambda: &Lambda, method: &str, project: i64, key: &str, encoding: &str, body: &[u8]) -> (u64, Value) {
    request_to(lambda, method, &format!("/api/{project}/envelope/"), key, encoding, body).await
}

/// The same to any path of the function's greedy route: below `/api/`, where no other route is more specific.
async fn request_to(lambda: &Lambda, method: &str, path: &str, key: &str, encoding: &str, body: &[u8]) -> (u64, Value) {
    let event = json!({
        "version": "2.0",
        "routeKey": format!("{method} /api/{{proxy+}}"),
        "rawPath": path,
        "rawQueryString": format!("sentry_version=7&sentry_key={key}"),
        "headers": {
            "host": "abc.execute-api.eu-west-1.amazonaws.com", "content-encoding": encoding,
            "content-type": "application/x-sentry-envelope", "x-forwarded-for": "203.0.113.7",
        },
        "pathParameters": {"proxy": path.split_once("/api/").map(|(_, rest)| rest)},
        "requestContext": {
            "accountId": "123456789012", "apiId": "abc", "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "abc", "requestId": "JKJaXmPLvHcESHA=", "routeKey": format!("{method} /api/{{proxy+}}"),
            "stage": "$default", "time": "23/Nov/2026:10:00:00 +0000", "timeEpoch": 1_795_428_000_000_u64,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "test"},
        },
        "body": BASE64.encode(body),
        "isBase64Encoded": true,
    });
    let answer = lambda.invoke(event).await.unwrap();
    (answer["statusCode"].as_u64().unwrap(), answer)
}

fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().unwrap_or("null")).unwrap()
}

#[tokio::test]
async fn a_compressed_envelope_is_accepted_through_the_gateway() {
    let sdk = Sdk::start().await;
    let secret = TestStack::dsn_secret();
    let environment = [("DATABASE_URL", sdk.stack.database.url()), ("DSN_SECRET", secret.expose().to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let lambda = Lambda::start("sentry-envelope", &environment).await;
    let packed = gzip(capture("py-2").as_bytes());
    let (status, answer) = request(&lambda, "POST", sdk.project, sdk.key.as_str(), "gzip", &packed).await;
    assert_eq!((status, body(&answer)), (200, json!({"id": "4785fc6015d440708a0c1093cce93cff"})));
    assert_eq!(answer["headers"]["access-control-allow-origin"], "*");
    assert_eq!(request(&lambda, "OPTIONS", sdk.project, "", "", b"").await.0, 204);
    assert_eq!(request(&lambda, "POST", sdk.project, "wrong", "gzip", &packed).await.0, 403);
    assert_eq!(lambda.terminate().await.0, Some(0));
    assert_eq!(sdk.incidents().await, 1);
    let refused: String = sdk.stack.database.value("SELECT host(source_ip::inet) FROM security_events").await;
    assert_eq!(refused, "203.0.113.0", "refusals are flushed before the answer");
}

#[tokio::test]
async fn without_its_secret_the_function_refuses_every_request_and_logs_why() {
    let sdk = Sdk::start().await;
    let lambda = Lambda::start("sentry-envelope", &[("DATABASE_URL", &sdk.stack.database.url())]).await;
    let (status, _) = request(&lambda, "POST", sdk.project, sdk.key.as_str(), "", capture("py-2").as_bytes()).await;
    assert_eq!(status, 403);
    let (_, logs) = lambda.terminate().await;
    assert!(logs.iter().any(|line| line.contains("ERROR") && line.contains("DSN_SECRET")), "{logs:?}");
    assert_eq!(sdk.incidents().await, 0);
}

#[tokio::test]
async fn without_database_and_bus_an_sdk_is_answered_with_503_to_retry() {
    let secret = TestStack::dsn_secret();
    let nowhere = "postgres://watchkeeper:secret@127.0.0.1:9/nowhere?sslmode=disable";
    let environment = [("DATABASE_URL", nowhere), ("DSN_SECRET", secret.expose())];
    let lambda = Lambda::start("sentry-envelope", &environment).await;
    let key = PublicKey::of(&secret, 7, KeyVersion::FIRST);
    let (status, answer) = request(&lambda, "POST", 7, key.as_str(), "", capture("py-2").as_bytes()).await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer["headers"]["retry-after"].is_string() && body(&answer)["detail"].is_string(), "{answer}");
    let (status, answer) = request(&lambda, "POST", 7, key.as_str(), "", capture("node-2").as_bytes()).await;
    assert_eq!(status, 200, "counting needs no database: {answer}");
    let (status, _) = request(&lambda, "POST", 8, key.as_str(), "", capture("py-2").as_bytes()).await;
    assert_eq!(status, 403, "nor does a wrong key");
}

#[tokio::test]
async fn other_paths_of_its_greedy_route_are_answered_with_404() {
    let sdk = Sdk::start().await;
    let secret = TestStack::dsn_secret();
    let environment = [("DATABASE_URL", sdk.stack.database.url()), ("DSN_SECRET", secret.expose().to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let lambda = Lambda::start("sentry-envelope", &environment).await;
    let (key, event) = (sdk.key.as_str(), capture("py-2"));
    let project = sdk.project;
    for path in [
        "/api/autonomous/error/",
        "/api/heartbeat/token/",
        "/api/incidents",
        "/api/incidents/INC-1/resolve/",
        &format!("/api/{project}/envelope//"),
        &format!("/api/{project}//envelope/"),
        &format!("//api/{project}/envelope/"),
        &format!("/api/{project}/envelope/x"),
        &format!("/api/{project}/ENVELOPE/"),
        // Percent-decoded, as by an HTTP API.
        &format!("/api/{project}/ envelope/"),
        &format!("/api/{project}/envelope/?sentry_key={key}"),
        "/api/<\"größe\">/\n%",
    ] {
        for method in ["POST", "OPTIONS"] {
            let (status, answer) = request_to(&lambda, method, path, key, "", event.as_bytes()).await;
            assert_eq!((status, &body(&answer)["error"]["code"]), (404, &json!("not_found")), "{method} {path}");
        }
    }
    assert_eq!(sdk.incidents().await, 0);
    // With and without the trailing slash.
    for path in ["envelope/", "envelope"] {
        let path = format!("/api/{project}/{path}");
        assert_eq!(request_to(&lambda, "POST", &path, key, "", event.as_bytes()).await.0, 200, "{path}");
    }
    assert_eq!(sdk.incidents().await, 1);
}

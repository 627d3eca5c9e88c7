//! The Lambda binary behind API Gateway: the signature covers the raw bytes of the body, also where the gateway sends
//! them in base64.

use harness::Database;
use harness::lambda::Lambda;
use harness::moto::Moto;
use secrecy::SecretString;
use sentry_webhook::signature::sign;
use serde_json::{Value, json};

use super::{ISSUE, SECRET, fixture};

/// A body with characters outside of ASCII.
const BODY: &str = r#"{"action":"created","data":{"error":{"event_id":"1","message":"café 😀"}}}"#;
/// The same body in base64.
const BASE64: &str =
    "eyJhY3Rpb24iOiJjcmVhdGVkIiwiZGF0YSI6eyJlcnJvciI6eyJldmVudF9pZCI6IjEiLCJtZXNzYWdlIjoiY2Fmw6kg8J+YgCJ9fX0=";

/// A request as API Gateway sends it; status and body of the answer.
async fn request(
    lambda: &Lambda,
    path: &str,
    resource: &str,
    signature: Option<&str>,
    body: &str,
    is_base64: bool,
) -> (u64, Value) {
    let fixture = include_str!("../../../functions/report-error/fixtures/api-gateway-v2.json");
    let mut event: Value = serde_json::from_str(fixture).unwrap();
    event["routeKey"] = json!(format!("POST {path}"));
    event["rawPath"] = json!(path);
    event["requestContext"]["http"]["path"] = json!(path);
    event["headers"] = json!({"content-type": "application/json", "sentry-hook-resource": resource});
    if let Some(signature) = signature {
        event["headers"]["sentry-hook-signature"] = json!(signature);
    }
    event["body"] = json!(body);
    event["isBase64Encoded"] = json!(is_base64);
    let answer = lambda.invoke(event).await.unwrap();
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
}

#[tokio::test]
async fn the_signature_covers_the_raw_bytes_of_plain_and_base64_bodies() {
    let database = Database::migrated().await;
    let environment = [
        ("DATABASE_URL", &*database.url()),
        ("SENTRY_CLIENT_SECRET", SECRET),
        ("SENTRY_LEGACY_SECRET", "secret-in-the-path"),
        ("SENTRY_DSN", "https://key@o1.ingest.sentry.io/77"),
    ];
    let lambda = Lambda::start("sentry-webhook", &environment).await;
    let signature = sign(&SecretString::from(SECRET), BODY.as_bytes());
    let plain = request(&lambda, "/webhooks/sentry", "error", Some(&signature), BODY, false).await;
    assert_eq!((plain.0, &plain.1["created"]), (200, &json!(true)), "{plain:?}");
    assert_eq!(
        request(&lambda, "/webhooks/sentry", "error", Some(&signature), BASE64, true).await,
        plain,
        "the same delivery"
    );
    let of_base64 = sign(&SecretString::from(SECRET), BASE64.as_bytes());
    assert_eq!(request(&lambda, "/webhooks/sentry", "error", Some(&of_base64), BASE64, true).await.0, 401);
    assert_eq!(request(&lambda, "/webhooks/sentry", "error", None, BODY, false).await.0, 401);
    let unsigned = r#"{"message": "boom", "event": {"project": 77}}"#;
    assert!(
        request(&lambda, "/webhooks/sentry/secret-in-the-path", "error", None, unsigned, false).await.1["ignored"]
            .is_string()
    );
    assert_eq!(request(&lambda, "/webhooks/sentry/other", "error", None, unsigned, false).await.0, 401);
    let (code, logs) = lambda.terminate().await;
    assert_eq!(code, Some(0));
    assert!(!logs.concat().contains("/webhooks/sentry/"), "a path may contain the secret: {logs:?}");
    assert_eq!(database.networks_refused("WHERE source_ip IS NOT NULL").await, 2);
    assert_eq!(database.count("intake_counters WHERE kind IN ('error.created', 'legacy')").await, 2);
}

#[tokio::test]
async fn a_resolution_is_offered_to_the_bus_before_the_answer() {
    let (database, moto) = (Database::migrated().await, Moto::start().await);
    let environment = [
        ("DATABASE_URL", &*database.url()),
        ("SENTRY_CLIENT_SECRET", SECRET),
        ("EVENT_BUS_NAME", "watchkeeper"),
        ("AWS_ENDPOINT_URL", moto.url()),
        ("AWS_REGION", Moto::REGION),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let lambda = Lambda::start("sentry-webhook", &environment).await;
    let resolved = fixture("issue-resolved");
    for (resource, body) in [("issue", ISSUE), ("issue", &resolved)] {
        let signature = sign(&SecretString::from(SECRET), body.as_bytes());
        let answer = request(&lambda, "/webhooks/sentry", resource, Some(&signature), body, false).await;
        assert_eq!(answer.0, 200, "{answer:?}");
    }
    // Whether the bus takes it in time depends on the machine's load; that it was offered does not.
    assert_eq!(database.count("event_outbox WHERE detail_type = 'IncidentResolved' AND attempts = 1").await, 1);
}

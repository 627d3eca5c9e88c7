//! The requests of `bench start`: the events that AWS would invoke the functions with.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use secrecy::SecretString;
use sentry_webhook::signature::sign;
use serde_json::{Value, json};
use shared::dsn::{DsnSecret, KeyVersion, PublicKey};
use shared::heartbeat::HeartbeatToken;
use url::form_urlencoded;

/// The key, token and secret of every function that needs one.
pub(crate) const KEY: &str = "key-of-the-benchmark";
/// What a Standard Webhook is signed with.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The number of the one application.
pub(crate) const APPLICATION: i64 = 1001;
/// The name of the one job.
pub(crate) const JOB: &str = "nightly";
/// The secret of the application's DSN key.
pub(crate) const DSN_SECRET: &str = "benchmark-dsn-secret";
const SDK_EVENT: &str = include_str!("../../../../shared/fixtures/sentry/python-exception.json");
const REPORT: &str = include_str!("../../../benches/reports/1kB.json");
const SENTRY_ERROR: &str = include_str!("../../../../functions/sentry-webhook/fixtures/error-created.json");
/// The event's id in [`SENTRY_ERROR`]: each request is another event.
const SENTRY_EVENT_ID: &str = "e4874d664c3540c1a32eab185f12c5ab";
const CLICK: &str = include_str!("../../../../functions/slack-actions/fixtures/block-actions.json");
const PAGERDUTY: &str = include_str!("../../../../functions/pagerduty-events/fixtures/incident-acknowledged.json");

/// The DER prefix of a P-256 public key.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// `SendGrid`'s key.
#[expect(clippy::expect_used, reason = "without a key nothing can be measured")]
static SENDGRID: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key can be made"));

/// `SendGrid`'s public key, in its format.
pub(crate) fn sendgrid_key() -> String {
    BASE64.encode([P256, SENDGRID.public_key().as_ref()].concat())
}

/// The token of the one job.
pub(crate) fn token() -> anyhow::Result<HeartbeatToken> {
    Ok(HeartbeatToken::of(&DsnSecret::new(SecretString::from(DSN_SECRET))?, JOB, "bench"))
}

pub(crate) fn report_error(_: usize) -> Value {
    http("POST", "/api/autonomous/error", json!({"authorization": format!("Bearer {KEY}")}), Some(REPORT))
}

pub(crate) fn sentry_webhook(_: usize) -> Value {
    let body = SENTRY_ERROR.replace(SENTRY_EVENT_ID, &uuid::Uuid::new_v4().simple().to_string());
    let signature = sign(&SecretString::from(KEY), body.as_bytes());
    let headers = json!({"sentry-hook-resource": "error", "sentry-hook-signature": signature});
    http("POST", "/webhooks/sentry", headers, Some(&body))
}

pub(crate) fn sentry_envelope(_: usize) -> Value {
    let key = DsnSecret::new(SecretString::from(DSN_SECRET))
        .map(|secret| PublicKey::of(&secret, APPLICATION, KeyVersion::FIRST).dsn("http://bench", APPLICATION))
        .unwrap_or_default();
    let key = key.trim_start_matches("http://").split('@').next().unwrap_or_default();
    let id = uuid::Uuid::new_v4().simple().to_string();
    let event: Value = serde_json::from_str(SDK_EVENT).unwrap_or_default();
    let body = format!("{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\"}}\n{}\n", with_id(event, &id));
    let headers = json!({"x-sentry-auth": format!("Sentry sentry_version=7, sentry_key={key}")});
    http("POST", &format!("/api/{APPLICATION}/envelope/"), headers, Some(&body))
}

fn with_id(mut event: Value, id: &str) -> Value {
    event["event_id"] = id.into();
    event
}

pub(crate) fn heartbeat(_: usize) -> Value {
    let path = token().map(|token| token.url("")).unwrap_or_default();
    http("POST", &path, json!({}), None)
}

pub(crate) fn status(number: usize) -> Value {
    let path = ["/ready", "/status", "/api/incidents"][number % 3];
    http("GET", path, json!({"authorization": format!("Bearer {KEY}")}), None)
}

/// The tick of each minute from now on: the service is due at every one.
pub(crate) fn scheduled_minute(number: usize) -> Value {
    let now = Utc::now();
    let tick = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
    scheduled(tick + TimeDelta::minutes(i64::try_from(number).unwrap_or_default()))
}

fn incident(number: usize) -> String {
    format!("INC-BENCH-{number}")
}

/// A batch of the queue with one event of the bus.
pub(crate) fn notify(number: usize) -> Value {
    let detail = json!({"version": 1, "id": uuid::Uuid::new_v4(), "incident_id": incident(number)});
    let event = json!({"detail-type": "IncidentOpened", "source": "watchkeeper", "detail": detail});
    json!({"Records": [{
        "messageId": uuid::Uuid::new_v4(), "receiptHandle": "handle", "body": event.to_string(), "attributes": {},
        "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "eu-west-1",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:notify",
    }]})
}

pub(crate) fn slack_actions(number: usize) -> Value {
    let mut click: Value = serde_json::from_str(CLICK).unwrap_or_default();
    click["actions"][0]["value"] = incident(number).into();
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &click.to_string()).finish();
    let at = Utc::now().timestamp().to_string();
    let signature = slack_actions::signature::sign(&SecretString::from(KEY), &at, form.as_bytes());
    let headers = json!({
        "content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": at, "x-slack-signature": signature
    });
    http("POST", "/webhooks/slack", headers, Some(&form))
}

pub(crate) fn admin(number: usize) -> Value {
    let path = format!("/api/incidents/{}/resolve", incident(number));
    http("POST", &path, json!({"authorization": format!("Bearer {KEY}")}), Some(r#"{"by": "ann"}"#))
}

pub(crate) fn pagerduty_events(_: usize) -> Value {
    let signature = pagerduty_events::signature::sign(&SecretString::from(KEY), PAGERDUTY.as_bytes());
    http("POST", "/webhooks/pagerduty", json!({"x-pagerduty-signature": signature}), Some(PAGERDUTY))
}

pub(crate) fn email_events(_: usize) -> Value {
    let id = uuid::Uuid::new_v4();
    let at = Utc::now().timestamp();
    let body = json!([{"event": "delivered", "timestamp": at, "sg_event_id": id, "notification_id": id}]).to_string();
    let signature = SENDGRID.sign(&SystemRandom::new(), format!("{at}{body}").as_bytes());
    let signature = signature.map(|signature| BASE64.encode(signature.as_ref())).unwrap_or_default();
    let headers = json!({
        "x-twilio-email-event-webhook-signature": signature, "x-twilio-email-event-webhook-timestamp": at.to_string()
    });
    http("POST", "/webhooks/email-events", headers, Some(&body))
}

/// The scheduled event of EventBridge for this time.
pub(crate) fn scheduled(time: DateTime<Utc>) -> Value {
    json!({
        "version": "0", "id": uuid::Uuid::new_v4(), "detail-type": "Scheduled Event", "source": "aws.events",
        "account": "123456789012", "region": "eu-west-1", "resources": [], "detail": {}, "time": time,
    })
}

/// A request as API Gateway's HTTP API sends it (payload version 2.0).
fn http(method: &str, path: &str, headers: Value, body: Option<&str>) -> Value {
    let mut all = json!({"content-type": "application/json", "host": "abc.execute-api.eu-west-1.amazonaws.com"});
    if let (Value::Object(all), Value::Object(headers)) = (&mut all, headers) {
        all.extend(headers);
    }
    json!({
        "version": "2.0", "routeKey": format!("{method} {path}"), "rawPath": path, "rawQueryString": "",
        "headers": all, "body": body, "isBase64Encoded": false,
        "requestContext": {
            "accountId": "123456789012", "apiId": "abc", "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "abc", "requestId": "JKJaXmPLvHcESHA=", "routeKey": format!("{method} {path}"),
            "stage": "$default", "time": "23/Nov/2026:10:00:00 +0000", "timeEpoch": 1_795_428_000_000_u64,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "bench"},
        },
    })
}

//! `POST /webhooks/sentry` and `/webhooks/sentry/{secret}`.

mod authenticity;
mod errors;
mod gateway;
mod hostile;
mod lifecycle;
mod metric_alerts;
mod noted;
mod replays;
mod service_hooks;
mod unsigned;

use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use harness::{Answer, Database, TestStack};
use secrecy::SecretString;
use sentry_webhook::app::SentryConfig;
use sentry_webhook::signature::sign;
use serde_json::Value;

const SECRET: &str = "test_secret";
const HOOK_SECRET: &str = "hook_secret";
const PATH_SECRET: &str = "path_secret";
const ERROR: &str = include_str!("../../../functions/sentry-webhook/fixtures/error-created.json");
const EVENT_ALERT: &str = include_str!("../../../functions/sentry-webhook/fixtures/event-alert-triggered.json");
const ISSUE: &str = include_str!("../../../functions/sentry-webhook/fixtures/issue-created.json");
const METRIC_ALERT: &str = include_str!("../../../functions/sentry-webhook/fixtures/metric-alert-critical.json");
const HOOK: &str = include_str!("../../../functions/sentry-webhook/fixtures/service-hook.json");
const LEGACY: &str = include_str!("../../../functions/sentry-webhook/fixtures/legacy-plugin.json");

/// A stack that accepts each kind of Sentry's webhooks.
async fn stack() -> TestStack {
    stack_of(config()).await
}

fn config() -> SentryConfig {
    let secret = |text: &str| Some(SecretString::from(text));
    SentryConfig {
        client_secret: secret(SECRET),
        service_hook_secret: secret(HOOK_SECRET),
        legacy_secret: secret(PATH_SECRET),
        own_project: None,
    }
}

async fn stack_of(config: SentryConfig) -> TestStack {
    TestStack::builder().sentry(config).start(Database::migrated().await).await
}

/// Yesterday's date, constant throughout a run: deliveries older than key retention are ignored.
fn yesterday() -> &'static str {
    static DAY: OnceLock<String> = OnceLock::new();
    DAY.get_or_init(|| (Utc::now() - TimeDelta::days(1)).format("%Y-%m-%d").to_string())
}

/// A fixture's body with its date moved to yesterday.
fn fresh(body: &str) -> String {
    let received = format!("{}T09:15:02Z", yesterday()).parse::<DateTime<Utc>>().unwrap().timestamp();
    body.replace("2026-11-23T", &format!("{}T", yesterday())).replace("1795425302", &received.to_string())
}

/// A request as Sentry sends it: signed, with its resource header, dated yesterday.
fn webhook(stack: &TestStack, resource: &str, body: &str) -> reqwest::RequestBuilder {
    let body = fresh(body);
    stack
        .request("POST", "/webhooks/sentry")
        .header("content-type", "application/json")
        .header("request-id", uuid::Uuid::new_v4().simple().to_string())
        .header("sentry-hook-resource", resource)
        .header("sentry-hook-timestamp", "1795425303")
        .header("sentry-hook-signature", sign(&SecretString::from(SECRET), body.as_bytes()))
        .body(body)
}

async fn deliver(stack: &TestStack, resource: &str, body: &str) -> Answer {
    stack.send(webhook(stack, resource, body)).await
}

/// Sends a body as a service hook does.
async fn deliver_hook(stack: &TestStack, body: &str) -> Answer {
    let body = fresh(body);
    let request = stack
        .request("POST", "/webhooks/sentry")
        .header("x-servicehook-timestamp", "1795425303")
        .header("x-servicehook-guid", uuid::Uuid::new_v4().simple().to_string())
        .header("x-servicehook-signature", sign(&SecretString::from(HOOK_SECRET), body.as_bytes()))
        .body(body);
    stack.send(request).await
}

/// Sends a body as the older plugin does.
async fn deliver_unsigned(stack: &TestStack, secret: &str, body: &str) -> Answer {
    stack.send(stack.request("POST", &format!("/webhooks/sentry/{secret}")).body(body.to_owned())).await
}

/// A fixture's text.
fn fixture(name: &str) -> String {
    let path = format!("{}/../functions/sentry-webhook/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap()
}

fn changed(body: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::from_str(body).unwrap();
    change(&mut value);
    value.to_string()
}

async fn occurrences(stack: &TestStack) -> Vec<i64> {
    let rows = stack.database.rows("SELECT occurrences FROM incidents ORDER BY detected_at", &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

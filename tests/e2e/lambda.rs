//! The real Lambda binaries, on the Runtime API.

use chrono::{DurationRound as _, TimeDelta, Utc};
use harness::lambda::{KEY, Lambda};
use harness::proxy::Proxy;
use harness::{Behaviour, Database, Target, TestStack};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ERROR: &str = r#"{"error": {"message": "Database connection failed"}}"#;
/// [`ERROR`] in base64, as API Gateway sends a body that it takes for binary.
const ERROR_BASE64: &str = "eyJlcnJvciI6IHsibWVzc2FnZSI6ICJEYXRhYmFzZSBjb25uZWN0aW9uIGZhaWxlZCJ9fQ==";
const ROUTE: &str = "/api/autonomous/error";

#[tokio::test]
async fn report_error_accepts_plain_and_base64_bodies() {
    let database = Database::migrated().await;
    let lambda = Lambda::start("report-error", &[("DATABASE_URL", &database.url()), ("INGEST_API_KEY", KEY)]).await;
    let (status, first) = lambda.request("POST", ROUTE, Some(ERROR), false).await;
    assert_eq!((status, &first["created"], &first["severity"]), (200, &json!(true), &json!("CRITICAL")));
    let (status, second) = lambda.request("POST", ROUTE, Some(ERROR_BASE64), true).await;
    assert_eq!((status, &second["incident_id"]), (200, &first["incident_id"]));
    let (status, _) = lambda.request("POST", ROUTE, Some("nonsense"), false).await;
    assert_eq!(status, 400);
    let (status, _) = lambda.request("POST", "/nowhere", None, false).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn without_a_key_the_lambda_refuses_every_report() {
    let database = Database::migrated().await;
    let lambda = Lambda::start("report-error", &[("DATABASE_URL", &database.url())]).await;
    assert_eq!(lambda.request("POST", ROUTE, Some(ERROR), false).await.0, 401);
    assert_eq!(database.count("incidents").await, 0);
}

#[tokio::test]
async fn without_a_database_a_lambda_answers_503_and_recovers() {
    let database = Database::migrated().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("{}?sslmode=disable", replace_place(&database.url(), &address.to_string()));
    let lambda = Lambda::start("report-error", &[("DATABASE_URL", &url), ("INGEST_API_KEY", KEY)]).await;
    assert_eq!(lambda.request("POST", ROUTE, Some(ERROR), false).await.0, 503);
    let _proxy = Proxy::start_on(TcpListener::bind(address).await.unwrap(), &database);
    assert_eq!(lambda.request("POST", ROUTE, Some(ERROR), false).await.0, 200);
}

#[tokio::test]
async fn logs_are_json_lines_with_the_request_id_and_sigterm_ends_the_function() {
    let database = Database::migrated().await;
    let lambda = Lambda::start("report-error", &[("DATABASE_URL", &database.url()), ("INGEST_API_KEY", KEY)]).await;
    lambda.request("POST", ROUTE, Some(ERROR), false).await;
    let (code, logs) = lambda.terminate().await;
    assert_eq!(code, Some(0));
    let logs: Vec<Value> = logs.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let stored = logs.iter().find(|log| log["message"].as_str().unwrap_or_default().starts_with("report stored"));
    let span = &stored.expect("a stored report is logged")["span"];
    assert!(uuid::Uuid::try_parse(span["requestId"].as_str().unwrap_or_default()).is_ok(), "{span}");
    let open: i64 = database
        .value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watchkeeper-report-error' AND datname = current_database()")
        .await;
    assert_eq!(open, 0, "the connections are closed");
}

/// The connection string with another host and port, and no options.
fn replace_place(url: &str, place: &str) -> String {
    let (credentials, rest) = url.rsplit_once('@').unwrap();
    let database = rest.split_once('/').unwrap().1.split('?').next().unwrap();
    format!("{credentials}@{place}/{database}")
}

#[tokio::test]
async fn status_answers_over_the_gateway() {
    let database = Database::migrated().await;
    let lambda = Lambda::start("status", &[("DATABASE_URL", &database.url()), ("READ_TOKEN", KEY)]).await;
    for path in ["/health", "/ready", "/status", "/api/incidents"] {
        assert_eq!(lambda.request("GET", path, None, false).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_a_uri_after_decoding_crashes_no_function() {
    let database = Database::migrated().await;
    let lambda = Lambda::start("status", &[("DATABASE_URL", &database.url()), ("READ_TOKEN", KEY)]).await;
    for path in ["/api/incidents/a b", "/api/incidents/<%>", "/api/incidents/\u{7f}", "/api/incidents/INC?x#y"] {
        assert_eq!(lambda.request("GET", path, None, false).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn probe_runs_on_a_scheduled_event_and_is_idempotent() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    let lambda = Lambda::start("probe", &[("DATABASE_URL", &stack.database.url()), ("AWS_REGION", "eu-west-1")]).await;
    let event = scheduled_event();
    lambda.invoke(event.clone()).await.unwrap();
    lambda.invoke(event).await.unwrap();
    assert_eq!(stack.database.count("monitoring_checks").await, 1);
    assert_eq!(stack.database.count("incidents WHERE status = 'detected'").await, 1);
    let region: String = stack.database.value("SELECT region FROM service_health_checks").await;
    assert_eq!(region, "eu-west-1");
}

/// The event as EventBridge sends it.
pub(crate) fn scheduled_event() -> Value {
    let tick = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": tick.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": "eu-west-1",
        "resources": ["arn:aws:events:eu-west-1:123456789012:rule/minute"],
        "detail": {},
    })
}

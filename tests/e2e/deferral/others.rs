//! Deferral of Sentry's steps, check-ins and heartbeats: their senders do not retry them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use harness::lambda::Lambda;
use harness::moto::Moto;
use harness::{Answer, Database, TestStack};
use secrecy::SecretString;
use sentry_webhook::signature::sign;
use serde_json::{Value, json};
use shared::defer::settle::{Settled, settle};
use shared::defer::{Deferred, DeferredBeat};
use shared::dsn::{KeyVersion, PublicKey};
use shared::heartbeat::HeartbeatToken;
use shared::model::{Kind, Limits, ServiceSpec};
use shared::store::heartbeats;
use shared::store::probing::Beat;
use shared::store::services::{self, Wanted};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::bus::{moto, replay, waiting};
use super::{batch, failed, intake};

const SECRET: &str = "test_secret";
const NOWHERE: &str = "postgresql://agent:nothing@127.0.0.1:9/none?sslmode=disable";

fn token() -> HeartbeatToken {
    HeartbeatToken::of(&TestStack::dsn_secret(), "nightly", "production")
}

/// A job that reports here.
async fn job(database: &Database) {
    let mut spec = ServiceSpec::http("nightly", "production", "");
    spec.kind = Kind::Heartbeat;
    let (services, token_hashes) = (&[spec], &BTreeMap::from([(0, token().hash())]));
    let wanted = &Wanted { services, token_hashes, removed: &[], routing: None };
    let store = database.store();
    store.run(|client| async move { services::apply(&client, wanted, Utc::now()).await }).await.unwrap();
}

/// A stack with a journal, whose database holds a job.
async fn stack() -> (TempDir, TestStack) {
    let folder = tempfile::tempdir().unwrap();
    // The deadline of a stuck statement.
    let budget = Duration::from_secs(3);
    let builder =
        TestStack::builder().sentry_secret(SECRET).journal(&folder.path().join("journal")).store_budget(budget);
    let database = Database::migrated().await;
    job(&database).await;
    (folder, builder.start(database).await)
}

/// The body of an issue's step.
fn issue(action: &str, status: &str, count: u32) -> String {
    let seen = (Utc::now() - TimeDelta::minutes(5)).to_rfc3339();
    let issue = json!({
        "id": "4711", "title": "boom", "level": "error", "status": status, "count": count.to_string(), "lastSeen": seen,
        "project": {"slug": "shop"},
    });
    json!({"action": action, "data": {"issue": issue}, "actor": {"type": "user"}}).to_string()
}

async fn deliver(stack: &TestStack, resource: &str, body: String) -> Answer {
    let request = stack
        .request("POST", "/webhooks/sentry")
        .header("sentry-hook-resource", resource)
        .header("sentry-hook-signature", sign(&SecretString::from(SECRET), body.as_bytes()));
    stack.send(request.body(body)).await
}

async fn check_in(stack: &TestStack, project: i64) -> Answer {
    let key = PublicKey::of(&TestStack::dsn_secret(), project, KeyVersion::FIRST);
    let payload = json!({"monitor_slug": "hourly", "status": "ok", "check_in_id": "a"}).to_string();
    let body = format!("{{}}\n{{\"type\":\"check_in\",\"length\":{}}}\n{payload}\n", payload.len());
    stack.send(stack.request("POST", &format!("/api/{project}/envelope/?sentry_key={key}")).body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_stuck_steps_check_ins_and_heartbeats_are_deferred_to_the_journal() {
    let (_folder, stack) = stack().await;
    let project = stack.application("shop", None, Limits::default()).await;
    assert_eq!(deliver(&stack, "issue", issue("created", "unresolved", 1)).await.status, 200);
    stack
        .database
        .execute("BEGIN; LOCK TABLE inbound_deliveries, check_ins, service_heartbeats IN ACCESS EXCLUSIVE MODE")
        .await;
    let before = Utc::now();
    let step = deliver(&stack, "issue", issue("resolved", "resolved", 1)).await;
    assert_eq!((step.status, &step.body["deferred"]), (202, &json!(true)), "{step:?}");
    assert!(step.text("report_id").starts_with("sentry:"), "{step:?}");
    let sign_of_life = check_in(&stack, project).await;
    assert!(sign_of_life.status == 200 && sign_of_life.body["id"].is_string(), "{sign_of_life:?}");
    let beat = stack.send(stack.request("POST", &token().url("")).body(r#"{"status":"fail","message":"full"}"#)).await;
    assert_eq!((beat.status, &beat.body), (202, &json!({"received": true, "deferred": true})));
    let after = Utc::now();
    stack.database.execute("COMMIT").await;
    stack.database.wait_until("SELECT status = 'resolved' FROM incidents").await;
    stack.database.wait_until("SELECT count(*) = 1 FROM check_ins WHERE status = 'ok'").await;
    stack.database.wait_until("SELECT failed AND message = 'full' FROM service_heartbeats").await;
    for time in ["received_at FROM check_ins", "beat_at FROM service_heartbeats"] {
        let at: DateTime<Utc> = stack.database.value(&format!("SELECT {time}")).await;
        assert!((before..=after).contains(&at), "{time}: when it came, not when it was stored");
    }
    assert_eq!(stack.database.count("event_outbox WHERE detail_type = 'IncidentResolved'").await, 1);
}

#[tokio::test]
async fn without_deferral_a_step_and_a_heartbeat_are_refused() {
    let builder = TestStack::builder().sentry_secret(SECRET).database_url(NOWHERE.to_owned());
    let stack = builder.start(Database::empty().await).await;
    assert_eq!(deliver(&stack, "issue", issue("resolved", "resolved", 1)).await.status, 503);
    assert_eq!(stack.send(stack.request("POST", &token().url(""))).await.status, 503);
}

#[tokio::test]
async fn the_deferral_of_unverified_tokens_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let builder = TestStack::builder().journal(&folder.path().join("journal")).database_url(NOWHERE.to_owned());
    let stack = builder.start(Database::empty().await).await;
    let numbers: Vec<u32> = (0..2 * heartbeat::tokens::UNKNOWN_PER_MINUTE + 10).collect();
    let mut answers = BTreeMap::<u16, u32>::new();
    for some in numbers.chunks(50) {
        let mut sent = JoinSet::new();
        for number in some {
            sent.spawn(stack.request("POST", &format!("/api/heartbeat/{number:032x}")).send());
        }
        for answer in sent.join_all().await {
            *answers.entry(answer.unwrap().status().as_u16()).or_default() += 1;
        }
    }
    // A minute may end meanwhile; two do not begin.
    assert!(answers[&202] <= 2 * heartbeat::tokens::UNKNOWN_PER_MINUTE && answers.contains_key(&503), "{answers:?}");
}

/// A message of the queue that holds these records.
fn message(records: &[Deferred]) -> String {
    let detail = json!({"version": 1, "id": uuid::Uuid::new_v4(), "records": records});
    json!({"version": "0", "detail-type": "ReportDeferred", "source": "watchkeeper", "detail": detail}).to_string()
}

/// The report of an issue and the step that resolves it, as `sentry-webhook` defers them.
async fn report_and_step() -> [Deferred; 2] {
    let moto = moto().await;
    let function = sentry_webhook(NOWHERE, moto.url()).await;
    for (action, status) in [("created", "unresolved"), ("resolved", "resolved")] {
        let answer = invoke(&function, "issue", &issue(action, status, 1)).await;
        assert_eq!(answer["statusCode"], 202, "{answer}");
    }
    let messages = waiting(&moto).await;
    let records = messages["Records"].as_array().unwrap().iter().flat_map(|message| {
        let event: Value = serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
        serde_json::from_value::<Vec<Deferred>>(event["detail"]["records"].clone()).unwrap()
    });
    let mut records: Vec<Deferred> = records.collect();
    records.sort_by_key(Deferred::received_at);
    <[Deferred; 2]>::try_from(records).unwrap()
}

async fn sentry_webhook(database: &str, bus: &str) -> Lambda {
    let variables = [
        ("DATABASE_URL", database),
        ("SENTRY_CLIENT_SECRET", SECRET),
        ("EVENT_BUS_NAME", "watchkeeper"),
        ("AWS_ENDPOINT_URL", bus),
        ("AWS_REGION", Moto::REGION),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    Lambda::start("sentry-webhook", &variables).await
}

async fn invoke(function: &Lambda, resource: &str, body: &str) -> Value {
    let fixture = include_str!("../../../functions/report-error/fixtures/api-gateway-v2.json");
    let mut event: Value = serde_json::from_str(fixture).unwrap();
    event["rawPath"] = "/webhooks/sentry".into();
    event["requestContext"]["http"]["path"] = "/webhooks/sentry".into();
    event["headers"]["sentry-hook-resource"] = resource.into();
    event["headers"]["sentry-hook-signature"] = sign(&SecretString::from(SECRET), body.as_bytes()).into();
    event["body"] = body.into();
    event["isBase64Encoded"] = false.into();
    function.invoke(event).await.unwrap()
}

#[tokio::test]
async fn a_step_is_taken_after_its_earlier_report_in_any_order_of_the_messages() {
    let [report, step] = report_and_step().await;
    let (together, apart) = (Database::migrated().await, Database::migrated().await);
    let (first, second) = (message(std::slice::from_ref(&report)), message(std::slice::from_ref(&step)));
    let function = replay(&together).await;
    let answer = function.invoke(batch(&[("step", second.clone()), ("report", first.clone())])).await.unwrap();
    assert_eq!(failed(&answer), Vec::<&str>::new());
    assert_eq!(together.count("incidents WHERE status = 'resolved'").await, 1);
    // Another invocation has the report, and is slower.
    let function = replay(&apart).await;
    let answer = function.invoke(batch(&[("step", second.clone())])).await.unwrap();
    assert_eq!(failed(&answer), ["step"], "its report may come yet");
    for messages in [&[("report", first)], &[("step", second)]] {
        let answer = function.invoke(batch(messages)).await.unwrap();
        assert_eq!(failed(&answer), Vec::<&str>::new());
    }
    assert_eq!(apart.count("incidents WHERE status = 'resolved' AND occurrences = 1").await, 1);
}

#[tokio::test]
async fn a_step_without_a_known_incident_is_retried_and_is_kept_in_the_end() {
    let [_, Deferred::Step(mut step)] = report_and_step().await else { panic!("a step") };
    let database = Database::migrated().await;
    let function = replay(&database).await;
    for (age, failures, deliveries) in [(2, vec!["step"], 0), (24, vec![], 1)] {
        step.step.received_at = Utc::now() - TimeDelta::hours(age);
        let answer = function.invoke(batch(&[("step", message(&[Deferred::Step(step.clone())]))])).await.unwrap();
        assert_eq!(failed(&answer), failures, "{age} hours");
        assert_eq!(database.count("inbound_deliveries").await, deliveries, "{age} hours");
    }
}

#[tokio::test]
async fn a_metric_alert_s_step_is_deferred_with_its_report() {
    let fixture = include_str!("../../../functions/sentry-webhook/fixtures/metric-alert-critical.json");
    let mut alert: Value = serde_json::from_str(fixture).unwrap();
    let detected = Utc::now() - TimeDelta::minutes(1);
    alert["data"]["metric_alert"]["date_detected"] = json!(detected.to_rfc3339());
    let moto = moto().await;
    let function = sentry_webhook(NOWHERE, moto.url()).await;
    let answer = invoke(&function, "metric_alert", &alert.to_string()).await;
    assert_eq!(answer["statusCode"], 202, "{answer}");
    let database = Database::migrated().await;
    let mut messages = waiting(&moto).await;
    messages["Records"].as_array_mut().unwrap().reverse();
    let replay = replay(&database).await;
    for message in messages["Records"].as_array().unwrap() {
        let answer = replay.invoke(json!({"Records": [message]})).await.unwrap();
        assert_eq!(failed(&answer), Vec::<&str>::new());
    }
    let changed: DateTime<Utc> =
        database.value("SELECT upstream_changed_at FROM incidents WHERE occurrences = 1").await;
    assert_eq!(changed.timestamp(), detected.timestamp());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_of_a_deferred_report_does_not_wait_for_a_second_deadline() {
    let (_folder, stack) = stack().await;
    // A report needs this table, a step does not.
    stack.database.execute("BEGIN; LOCK TABLE incident_samples IN ACCESS EXCLUSIVE MODE").await;
    let fixture = include_str!("../../../functions/sentry-webhook/fixtures/metric-alert-critical.json");
    let mut alert: Value = serde_json::from_str(fixture).unwrap();
    alert["data"]["metric_alert"]["date_detected"] = json!((Utc::now() - TimeDelta::minutes(1)).to_rfc3339());
    let answer = deliver(&stack, "metric_alert", alert.to_string()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(stack.database.count("inbound_deliveries").await, 0);
    stack.database.execute("COMMIT").await;
    stack.database.wait_until("SELECT count(*) = 1 FROM incidents WHERE upstream_changed_at IS NOT NULL").await;
}

#[tokio::test]
async fn on_lambda_a_heartbeat_is_deferred_to_the_bus_and_a_later_one_wins() {
    let (database, moto) = (Database::migrated().await, moto().await);
    job(&database).await;
    let variables = [
        ("DATABASE_URL", NOWHERE),
        ("EVENT_BUS_NAME", "watchkeeper"),
        ("AWS_ENDPOINT_URL", moto.url()),
        ("AWS_REGION", Moto::REGION),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let function = Lambda::start("heartbeat", &variables).await;
    let (status, answer) = function.request("POST", &token().url(""), Some(r#"{"status":"fail"}"#), false).await;
    assert_eq!((status, &answer["deferred"]), (202, &json!(true)), "{answer}");
    let messages = waiting(&moto).await;
    let shown = token().url("").rsplit('/').next().unwrap().to_owned();
    assert!(!messages.to_string().contains(&shown), "the token itself is kept nowhere");
    let replay = replay(&database).await;
    replay.invoke(messages.clone()).await.unwrap();
    assert_eq!(database.count("service_heartbeats WHERE failed").await, 1);
    // A later heartbeat is stored before the message is delivered again.
    let (store, hash, later) =
        (database.store(), &token().hash(), &Beat { at: Utc::now(), failed: false, message: None });
    store.run(|client| async move { heartbeats::beat(&client, hash, later).await }).await.unwrap();
    assert_eq!(failed(&replay.invoke(messages).await.unwrap()), Vec::<&str>::new());
    assert_eq!(database.count("service_heartbeats WHERE failed").await, 0);
}

#[tokio::test]
async fn a_deferred_heartbeat_with_an_unknown_token_is_dropped() {
    let database = Database::migrated().await;
    let beat = Beat { at: Utc::now(), failed: false, message: None };
    let record = Deferred::Beat(DeferredBeat { token_hash: "unknown".to_owned(), beat });
    let until = Instant::now() + Duration::from_secs(30);
    let settled = settle(&intake(&database), &[record], until, TimeDelta::zero()).await;
    assert!(matches!(settled.as_slice(), [Settled::Stored]), "{settled:?}");
}

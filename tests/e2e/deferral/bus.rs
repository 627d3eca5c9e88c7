//! Deferral to the bus, and the whole path: bus, queue, `replay`, incident.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_eventbridge::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_eventbridge::{Client, Config};
use axum::Router;
use axum::routing::post;
use harness::Database;
use harness::lambda::Lambda;
use harness::moto::Moto;
use serde_json::{Value, json};
use shared::bus::Bus;
use shared::defer::bus::BusDeferral;
use shared::defer::{Defer as _, DeferError};
use tokio::net::TcpListener;

use super::{batch, occurrences, report};

/// AWS's own client, of the bus behind this address.
pub(crate) fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(Moto::REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    Client::from_conf(config.build())
}

/// A deferral to the bus at this address, with a deadline that is enough on a busy machine.
fn deferral(endpoint: &str) -> BusDeferral {
    deferral_within(endpoint, Duration::from_secs(30), Duration::from_secs(30))
}

/// A deferral with these deadlines for the first request and the later ones.
fn deferral_within(endpoint: &str, first: Duration, later: Duration) -> BusDeferral {
    BusDeferral::with_patience(Bus::with_client("watchkeeper", client(endpoint)), first, later)
}

/// AWS with a queue of deferred reports, as `template.yaml` makes it.
pub(crate) async fn moto() -> Moto {
    let moto = Moto::start().await;
    let pattern = json!({"source": ["watchkeeper"], "detail-type": ["ReportDeferred"]});
    moto.route("deferred", pattern).await;
    moto
}

/// The messages in the queue, in the form in which Lambda delivers them to `replay`.
pub(crate) async fn waiting(moto: &Moto) -> Value {
    let messages = moto.messages("deferred").await;
    let text = |message: &Value, name: &str| message[name].as_str().unwrap().to_owned();
    let messages: Vec<_> = messages.iter().map(|it| (text(it, "MessageId"), text(it, "Body"))).collect();
    let messages: Vec<_> = messages.iter().map(|(id, body)| (id.as_str(), body.clone())).collect();
    batch(&messages)
}

pub(crate) async fn replay(database: &Database) -> Lambda {
    Lambda::start("replay", &[("DATABASE_URL", &database.url())]).await
}

#[tokio::test]
async fn a_deferred_report_is_replayed_from_the_queue_and_counts_once() {
    let (database, moto) = (Database::migrated().await, moto().await);
    let (small, large) = (report("data loss"), report(&"a large one ".repeat(80_000)));
    deferral(moto.url()).defer(&[small.clone().into(), large.clone().into()]).await.unwrap();
    let batch = waiting(&moto).await;
    assert_eq!(batch["Records"].as_array().unwrap().len(), 1, "they fit into one event");
    let replay = replay(&database).await;
    for _ in 0..2 {
        let answer = replay.invoke(batch.clone()).await.unwrap();
        assert_eq!(answer, json!({"batchItemFailures": []}));
        assert_eq!(occurrences(&database, &small.message).await, 1);
        assert_eq!(occurrences(&database, &large.message).await, 1);
    }
    let detected: String =
        database.value("SELECT (detected_at AT TIME ZONE 'UTC')::text FROM incidents WHERE title = 'data loss'").await;
    assert_eq!(detected[..19], small.received_at.format("%Y-%m-%d %H:%M:%S").to_string(), "when it reached us");
}

#[tokio::test]
async fn a_replayed_report_keeps_everything_that_a_stored_one_has() {
    let (direct, replayed, moto) = (Database::migrated().await, Database::migrated().await, moto().await);
    let mut report = report("Ünïcödé 漢字 🧨 \u{202e}\\ \"quoted\"");
    report.stack = Some("at a.rs:1\n\tat b.rs:2".to_owned());
    report.context = json!({"a": {"b": [1, 2.5, null, true, "ü"]}, "<&>": "\u{1}"}).as_object().unwrap().clone();
    let deep = (1..120).fold(json!([]), |inner, _| json!([inner]));
    report.context.insert("deep".to_owned(), deep);
    super::intake(&direct).record(report.clone()).await.unwrap();
    deferral(moto.url()).defer(&[report.into()]).await.unwrap();
    replay(&replayed).await.invoke(waiting(&moto).await).await.unwrap();
    let row =
        "SELECT to_jsonb(i)::text FROM (SELECT title, severity, category, application, environment, error_message,
        error_type, stack_trace, fingerprint, context, occurrences, detected_at FROM incidents) i";
    let (direct, replayed): (String, String) = (direct.value(row).await, replayed.value(row).await);
    assert_eq!(direct, replayed);
}

#[tokio::test]
async fn a_record_that_is_too_large_for_an_event_is_not_deferred() {
    let moto = moto().await;
    // Ids in hexadecimal digits: half of it is left when it is packed.
    let noise: String = (0..20_000).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let error = deferral(moto.url()).defer(&[report(&noise).into()]).await.unwrap_err();
    assert!(matches!(error, DeferError::TooLarge { bytes, limit } if bytes > limit), "{error}");
    assert_eq!(moto.messages("deferred").await.len(), 0);
}

/// A bus that gives every request this answer.
async fn bus(answer: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(move || async move { axum::Json(answer) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_bus_that_is_down_hangs_or_fails_is_reported() {
    let failing = json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]});
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (endpoint, reason) in [
        ("http://127.0.0.1:9".to_owned(), "the bus"),
        (format!("http://{}", hanging.local_addr().unwrap()), "did not answer in time"),
        (bus(failing).await, "InternalFailure"),
        (bus(json!({"FailedEntryCount": 0, "Entries": []})).await, "another number"),
        (bus(json!("nonsense")).await, "refused"),
    ] {
        // The deadline for one that hangs.
        let patience = if reason == "did not answer in time" { 100 } else { 30_000 };
        let patience = Duration::from_millis(patience);
        let error = deferral_within(&endpoint, patience, patience).defer(&[report("boom").into()]).await.unwrap_err();
        let DeferError::Unavailable(cause) = &error else { panic!("{error}") };
        let chain = shared::store::chain(cause.as_ref());
        assert!(chain.contains(reason), "{endpoint}: {chain}");
    }
}

#[tokio::test]
async fn a_bus_that_has_answered_before_gets_less_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (asked, answers) = (Arc::new(AtomicUsize::new(0)), json!({"FailedEntryCount": 0, "Entries": [{}]}));
    let handler = move || async move {
        if asked.fetch_add(1, Ordering::SeqCst) > 0 {
            std::future::pending::<()>().await;
        }
        axum::Json(answers)
    };
    let router = Router::new().route("/", post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    // The first deadline is longer than any test runs.
    let deferral = deferral_within(&endpoint, Duration::from_hours(1), Duration::from_millis(50));
    deferral.defer(&[report("first").into()]).await.unwrap();
    assert!(deferral.defer(&[report("second").into()]).await.is_err());
}

//! The `postgres` kind against a real server: measurements, limits, and the reason of a refused connection. And what is
//! stored of a target whose answer contains what a database can't store.

use std::time::Duration;

use chrono::{DateTime, Utc};
use harness::{Database, TestStack, spec};
use probe::check::{Checker, CheckerConfig, Outcome};
use probe::net::guard::Cidr;
use serde_json::{Value, json};
use shared::config::Secrets;
use shared::model::{FailureReason, Kind, PostgresLimits, Service, ServiceSpec, Slot, Standing, Verdict};
use shared::redact::Redactor;
use shared::store::probing::ClaimedService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

/// Limits that other tests on the shared server do not exceed.
const GENEROUS: PostgresLimits = PostgresLimits {
    connections_ratio: None,
    transaction_seconds: None,
    blocked_backends: None,
    deadlocks: None,
    cache_hit_ratio: None,
    size_bytes: None,
};

/// One attempt at the server behind this connection string.
async fn check(url: &str, limits: PostgresLimits, before: Option<Value>) -> Outcome {
    let url = url.to_owned();
    let secrets = Secrets::from_lookup(move |name| (name == "SHOP_URL").then(|| url.clone()));
    let checker = Checker::new(CheckerConfig::new(Cidr::loopback(), secrets, Redactor::default())).unwrap();
    let mut spec = ServiceSpec {
        kind: Kind::Postgres,
        timeout: Duration::from_secs(5),
        ..ServiceSpec::http("database", "production", "${SHOP_URL}")
    };
    spec.check.postgres = limits;
    let standing = Standing { consecutive_failures: 1, ..Standing::NEW };
    let service = Service { id: Uuid::from_u128(1), spec, standing };
    let mut claimed = ClaimedService::new(service, Slot { start: DateTime::UNIX_EPOCH, period_seconds: 60 });
    claimed.measurements = before;
    checker.check(&claimed, Utc::now()).await
}

#[track_caller]
fn verdict_of(outcome: &Outcome) -> (Verdict, FailureReason, &str) {
    let failure = outcome.failure.as_ref().unwrap();
    (outcome.verdict, failure.reason, &failure.text)
}

#[tokio::test]
async fn a_healthy_server_is_measured() {
    let database = Database::empty().await;
    let outcome = check(&database.url(), GENEROUS, Some(json!({ "deadlocks": 0 }))).await;
    assert_eq!((outcome.verdict, outcome.failure.as_ref()), (Verdict::Healthy, None), "{outcome:?}");
    let measured = outcome.measurements.unwrap();
    // The test's own connection and the checker's.
    assert!(measured["connections"].as_i64().unwrap() >= 2, "{measured}");
    assert!(measured["max_connections"].as_i64().unwrap() >= 10, "{measured}");
    assert!(measured["size_bytes"].as_i64().unwrap() > 1_000_000, "{measured}");
    assert_eq!((&measured["deadlocks"], &measured["new_deadlocks"]), (&json!(0), &json!(0)));
    assert!(outcome.hops[0].phases.first_byte.is_some());
    assert_eq!(outcome.hops[0].url, "${SHOP_URL}");
}

#[tokio::test]
async fn a_role_without_privileges_measures_too() {
    let database = Database::empty().await;
    let role = format!("watcher_{}", Uuid::new_v4().simple());
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await;
    let (_, place) = database.url().split_once('@').map(|(user, place)| (user.to_owned(), place.to_owned())).unwrap();
    let outcome = check(&format!("postgresql://{role}:secret@{place}"), GENEROUS, None).await;
    database.execute(&format!("DROP ROLE {role}")).await;
    assert_eq!((outcome.verdict, outcome.failure.as_ref()), (Verdict::Healthy, None), "{outcome:?}");
    assert!(outcome.measurements.unwrap()["connections"].as_i64().unwrap() >= 2);
}

#[tokio::test]
async fn a_backend_that_waits_for_a_lock_degrades_the_service() {
    let database = Database::empty().await;
    // The store has the functions' role.
    database.execute("CREATE TABLE things (id int); GRANT SELECT ON things TO PUBLIC").await;
    database.execute("BEGIN; LOCK TABLE things IN ACCESS EXCLUSIVE MODE").await;
    let store = database.store();
    let waiting = tokio::spawn(async move {
        store.run(|client| async move { Ok(client.batch_execute("SELECT * FROM things").await?) }).await
    });
    database.wait_until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted").await;
    let limits = PostgresLimits { blocked_backends: Some(1), ..GENEROUS };
    let outcome = check(&database.url(), limits, None).await;
    database.execute("ROLLBACK").await;
    waiting.await.unwrap().unwrap();
    let (verdict, reason, text) = verdict_of(&outcome);
    assert_eq!((verdict, reason), (Verdict::Degraded, FailureReason::Condition));
    assert!(text.ends_with("backends wait for locks (limit 1)"), "{text}");
    assert_eq!(outcome.attempts, 1);
}

#[tokio::test]
async fn deadlocks_count_since_the_last_check() {
    let database = Database::empty().await;
    let limits = PostgresLimits { deadlocks: Some(1), ..GENEROUS };
    let first = check(&database.url(), limits, None).await;
    assert_eq!(first.verdict, Verdict::Healthy);
    let before = json!({ "deadlocks": -2 });
    let outcome = check(&database.url(), limits, Some(before)).await;
    let expected = (Verdict::Degraded, FailureReason::Condition, "2 deadlocks since the last check (limit 1)");
    assert_eq!(verdict_of(&outcome), expected);
}

#[tokio::test]
async fn a_refused_login_is_reported_with_its_reason_and_without_the_password() {
    let database = Database::empty().await;
    let url = database.url();
    let elsewhere = url.replace("/test_", "/missing_");
    let outcome = check(&elsewhere, GENEROUS, None).await;
    let (verdict, reason, text) = verdict_of(&outcome);
    assert_eq!((verdict, reason), (Verdict::Degraded, FailureReason::Misconfigured));
    assert!(text.contains("does not exist (3D000)"), "{text}");
    for (url, reason) in [
        ("postgresql://u:s3cret@10.0.0.1/app", FailureReason::Blocked),
        ("postgresql://u:s3cret@169.254.169.254/app?sslmode=no-verify", FailureReason::Blocked),
        ("mysql://u:s3cret@127.0.0.1/app", FailureReason::Misconfigured),
        ("postgresql://u:s3cret@192.0.2.1/app?sslmode=disable", FailureReason::Misconfigured),
        (" ", FailureReason::Misconfigured),
    ] {
        let outcome = check(url, GENEROUS, None).await;
        let (verdict, found, text) = verdict_of(&outcome);
        let lasting = reason == FailureReason::Misconfigured;
        let expected = if lasting { Verdict::Degraded } else { Verdict::Failed };
        assert_eq!((verdict, found), (expected, reason), "{text}");
        assert!(!format!("{outcome:?}").contains("s3cret"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_postgres_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        // Answers one connection with nonsense, and closes the other.
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _login = stream.read(&mut [0; 1_024]).await;
            let _gone = stream.write_all(answer).await;
        }
    });
    let url = format!("postgresql://u:s3cret@{address}/app?sslmode=disable");
    for reason in [FailureReason::Protocol, FailureReason::ConnectionReset, FailureReason::ConnectionRefused] {
        if reason == FailureReason::ConnectionRefused {
            server.abort();
            while !server.is_finished() {
                tokio::task::yield_now().await;
            }
        }
        let outcome = check(&url, GENEROUS, None).await;
        let (verdict, found, text) = verdict_of(&outcome);
        assert_eq!((verdict, found), (Verdict::Failed, reason), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_can_t_be_stored_is_a_failed_check_nevertheless() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _request = stream.read(&mut [0; 1_024]).await;
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na\0b").await;
        }
    });
    let stack = TestStack::start().await;
    let mut service = spec("shop", "production", url);
    service.timeout = Duration::from_secs(5);
    service.check.conditions = vec!["[BODY] == ok".to_owned()];
    stack.apply(&[service]).await;
    assert_eq!(stack.check_now().await.checked.len(), 1);
    let stored: Option<String> = stack.database.value("SELECT error_message FROM service_health_checks").await;
    assert_eq!(stored.as_deref(), Some("[BODY] == ok, but it is a\u{FFFD}b"));
    assert_eq!(stack.database.count("incidents WHERE context -> 'captured' ->> 'body' = E'a\\uFFFDb'").await, 1);
}

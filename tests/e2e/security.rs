//! Refusals are recorded in `security_events`, one row for each kind, network and minute; accepted input is counted.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use harness::lambda::{KEY, Lambda};
use harness::{Database, TestStack};
use serde_json::{Value, json};
use shared::config::DatabaseConfig;
use shared::counters::Counters;
use shared::security::{SecurityEvent, SecurityKind, Watch};
use shared::store::{PoolSize, Store};
use tokio::task::JoinSet;

/// Seconds after an arbitrary full minute.
fn second(number: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(number)
}

fn wrong_key(last: u8) -> SecurityEvent {
    SecurityEvent {
        kind: SecurityKind::WrongKey,
        source_ip: Some(IpAddr::from([192, 0, last, 7])),
        description: "an invalid key".to_owned(),
    }
}

/// Kind, source network and count of each row.
async fn seen(database: &Database) -> Vec<(String, Option<String>, i64)> {
    let sql = "SELECT event_type, source_ip, (metadata ->> 'count')::bigint FROM security_events
        ORDER BY timestamp, event_type, source_ip";
    database.rows(sql, &[]).await.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn row(kind: &str, source: &str, count: i64) -> (String, Option<String>, i64) {
    (kind.to_owned(), Some(source.to_owned()), count)
}

/// Sums over the minutes: a full minute may end between two requests.
async fn sums(database: &Database) -> Vec<(String, Option<String>, i64)> {
    let sql = "SELECT event_type, source_ip, sum((metadata ->> 'count')::bigint)::bigint FROM security_events
        GROUP BY event_type, source_ip ORDER BY event_type";
    database.rows(sql, &[]).await.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn unreachable() -> Store {
    let config = DatabaseConfig::at("postgresql://u:p@127.0.0.1:9/none?sslmode=disable".into());
    Store::new(&config, "test", PoolSize::LAMBDA).unwrap()
}

#[tokio::test]
async fn wrong_keys_and_oversized_bodies_are_recorded_with_their_source() {
    let stack = TestStack::builder().ingest_key("right").start(Database::migrated().await).await;
    let report = || stack.request("POST", "/api/autonomous/error").json(&json!({"error": {"message": "boom"}}));
    for _ in 0..3 {
        // Whatever the client claims in its headers.
        let request = report().bearer_auth("wrong").header("x-forwarded-for", "198.51.100.1");
        assert_eq!(stack.send(request).await.status, 401);
    }
    assert_eq!(stack.send(report().bearer_auth("right")).await.status, 200);
    let large = vec![b' '; 1024 * 1024 + 1];
    let request = report().bearer_auth("right").body(large);
    assert_eq!(stack.send(request).await.status, 413);
    // Stopping the stack flushes what is buffered.
    let database = stack.stop().await;
    let expected = [row("oversized_body", "127.0.0.0/24", 1), row("wrong_key", "127.0.0.0/24", 3)];
    assert_eq!(sums(&database).await, expected);
    let descriptions: String = database.value("SELECT string_agg(description, ' ') FROM security_events").await;
    assert!(descriptions.contains("POST /api/autonomous/error") && !descriptions.contains("boom"), "{descriptions}");
}

#[tokio::test]
async fn on_lambda_the_source_is_the_address_that_the_gateway_reports() {
    let database = Database::migrated().await;
    let lambda = Lambda::start("report-error", &[("DATABASE_URL", &database.url()), ("INGEST_API_KEY", KEY)]).await;
    let fixture = include_str!("../../functions/report-error/fixtures/api-gateway-v2.json");
    let mut event: Value = serde_json::from_str(fixture).unwrap();
    event["headers"]["x-forwarded-for"] = "203.0.113.7, 198.51.100.1".into();
    let answer = lambda.invoke(event).await.unwrap();
    assert_eq!(answer["statusCode"], 401, "the fixture has another key");
    lambda.terminate().await;
    assert_eq!(seen(&database).await, [row("wrong_key", "203.0.113.0/24", 1)]);
}

#[tokio::test]
async fn an_attack_is_one_row_a_minute_with_its_count() {
    let database = Database::migrated().await;
    let watch = Watch::new(database.store());
    watch.refused(wrong_key(1), second(0)).await;
    watch.flush().await;
    assert_eq!(seen(&database).await, [row("wrong_key", "192.0.1.0/24", 1)]);
    for number in 1..=50 {
        watch.refused(wrong_key(1), second(number)).await;
    }
    watch.refused(wrong_key(2), second(51)).await;
    watch.refused(wrong_key(1), second(60)).await;
    watch.flush().await;
    let expected = [
        row("wrong_key", "192.0.1.0/24", 51),
        row("wrong_key", "192.0.2.0/24", 1),
        row("wrong_key", "192.0.1.0/24", 1),
    ];
    assert_eq!(seen(&database).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_that_are_attacked_concurrently_share_the_rows() {
    let database = Database::migrated().await;
    let mut attacked = JoinSet::new();
    for _ in 0..4 {
        let watch = Watch::new(database.store());
        attacked.spawn(async move {
            for number in 0..50 {
                watch.refused(wrong_key(number % 5), second(i64::from(number))).await;
            }
            watch.flush().await;
        });
    }
    attacked.join_all().await;
    let rows = seen(&database).await;
    assert_eq!(rows.len(), 5, "{rows:?}");
    assert!(rows.iter().all(|(_, _, count)| *count == 40), "{rows:?}");
}

#[tokio::test]
async fn without_a_database_recording_and_counting_delay_no_request() {
    let (watch, counters) = (Watch::new(unreachable()), Counters::new(unreachable()));
    for number in 0..1_000 {
        watch.refused(wrong_key(u8::try_from(number % 250).unwrap()), second(0)).await;
        counters.count("sdk", "event", second(number / 500)).await;
    }
    watch.flush().await;
    counters.flush().await;
    let stack = TestStack::builder()
        .ingest_key("right")
        .database_url("postgresql://u:p@127.0.0.1:9/none?sslmode=disable".to_owned())
        .start(Database::empty().await)
        .await;
    let request = stack.request("POST", "/api/autonomous/error").json(&json!({}));
    assert_eq!(stack.send(request).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_processes_add_to_the_same_intake_counters() {
    let database = Database::migrated().await;
    let mut counting = JoinSet::new();
    for _ in 0..4 {
        let counters = Counters::new(database.store());
        for _ in 0..5 {
            let counters = counters.clone();
            counting.spawn(async move {
                for number in 0..100 {
                    counters.count("sdk", if number % 2 == 0 { "event" } else { "session" }, second(number)).await;
                }
                counters.flush().await;
            });
        }
    }
    counting.join_all().await;
    let rows = database.rows("SELECT kind, count FROM intake_counters ORDER BY kind", &[]).await;
    let found: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, [("event".to_owned(), 1_000), ("session".to_owned(), 1_000)]);
}

#[tokio::test]
async fn counts_are_flushed_within_a_call_after_ten_seconds() {
    let database = Database::migrated().await;
    let counters = Counters::new(database.store());
    counters.count("sdk", "event", second(0)).await;
    counters.count("sdk", "event", second(9)).await;
    assert_eq!(database.count("intake_counters").await, 0);
    counters.count("sdk", "event", second(10)).await;
    counters.flush().await;
    assert_eq!(database.value::<i64>("SELECT count FROM intake_counters").await, 3);
}

#[tokio::test]
async fn a_wrong_read_token_is_recorded_and_a_missing_one_is_not() {
    let stack = TestStack::start().await;
    for path in ["/status", "/metrics", "/api/incidents", "/api/incidents/INC-1"] {
        let with = |token: &'static str| stack.send(stack.request("GET", path).bearer_auth(token));
        assert_eq!(stack.send(stack.request("GET", path)).await.status, 401, "{path}");
        assert_eq!(with("wrong").await.status, 401, "{path}");
        assert_ne!(with(TestStack::READ_TOKEN).await.status, 401, "{path}");
    }
    assert_eq!(stack.send(stack.request("GET", "/health").bearer_auth("wrong")).await.status, 200);
    let database = stack.stop().await;
    assert_eq!(sums(&database).await, [row("wrong_key", "127.0.0.0/24", 4)]);
}

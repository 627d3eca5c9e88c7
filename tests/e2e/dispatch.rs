//! The minute's sweep folds occurrences; the queue of delayed alerts.

use chrono::Utc;
use dispatch::{Sweep, handle};
use harness::lambda::Lambda;
use harness::{Database, TestStack};
use serde_json::json;
use shared::publish::{BusConfig, Publisher};

/// A sweep's App that publishes nothing.
fn app(database: &Database) -> dispatch::App {
    let store = database.store();
    dispatch::App::new(store.clone(), Publisher::new(store, BusConfig::default()))
}

/// A database with incidents, each with rows of unfolded occurrences.
async fn storm(incidents: u32, occurrences: u32, rows: u32) -> Database {
    let database = Database::migrated().await;
    database
        .execute(&format!(
            "INSERT INTO incidents (incident_id, title, severity, category, application, error_message, fingerprint)
            SELECT 'INC-' || n, 'boom', 'LOW', 'unknown', 'shop', 'boom', 'v2:' || n FROM generate_series(1, {incidents}) AS n;
            INSERT INTO incident_occurrences (incident, occurrences, last_seen_at)
            SELECT id, {occurrences}, now() FROM incidents, generate_series(1, {rows})"
        ))
        .await;
    database
}

#[tokio::test]
async fn a_sweep_folds_the_occurrences_of_incidents() {
    let database = storm(1_500, 2, 3).await;
    let app = app(&database);
    assert_eq!(handle(&app, Utc::now()).await.unwrap(), Sweep { folded: 1_500, ..Sweep::default() });
    assert_eq!(database.count("incidents WHERE occurrences = 7").await, 1_500);
    assert_eq!(handle(&app, Utc::now()).await.unwrap(), Sweep::default());
}

#[tokio::test]
async fn two_concurrent_sweeps_share_the_work() {
    let database = storm(200, 1, 20).await;
    let app = app(&database);
    let (one, two) = tokio::join!(handle(&app, Utc::now()), handle(&app, Utc::now()));
    one.unwrap();
    two.unwrap();
    // Rows that one had locked are left to the next sweep.
    handle(&app, Utc::now()).await.unwrap();
    assert_eq!(database.count("incidents WHERE occurrences = 21").await, 200);
    assert_eq!(database.count("incident_occurrences").await, 0);
}

#[tokio::test]
async fn the_local_stack_folds_within_a_second() {
    let stack = TestStack::start().await;
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    stack
        .database
        .execute(
            "INSERT INTO incident_occurrences (incident, occurrences, last_seen_at) SELECT id, 5, now() FROM incidents",
        )
        .await;
    stack.database.wait_until("SELECT occurrences = 6 FROM incidents").await;
}

#[tokio::test]
async fn the_lambda_takes_the_minute_and_the_messages_of_its_queue() {
    let database = Database::migrated().await;
    let lambda = Lambda::start("dispatch", &[("DATABASE_URL", &database.url())]).await;
    let due = "INSERT INTO alert_events (service_name, alert_type, status, announce_at)
        VALUES ('shop', $kind, 'active', now())";
    database.execute(&due.replace("$kind", "'service_down'")).await;
    let message = super::deferral::batch(&[("m1", json!({"detail-type": "ServiceStateChanged"}).to_string())]);
    assert_eq!(lambda.invoke(message).await.unwrap(), json!({"batchItemFailures": []}));
    assert_eq!(database.count("event_outbox WHERE detail_type = 'AlertRaised'").await, 1);
    database.execute(&due.replace("$kind", "'service_degraded'")).await;
    lambda.invoke(super::lambda::scheduled_event()).await.unwrap();
    assert_eq!(database.count("event_outbox WHERE detail_type = 'AlertRaised'").await, 2);
}

#[tokio::test]
async fn while_the_database_is_unavailable_the_messages_are_retried() {
    let nowhere = "postgresql://agent:nothing@127.0.0.1:9/none?sslmode=disable";
    let lambda = Lambda::start("dispatch", &[("DATABASE_URL", nowhere)]).await;
    let messages = super::deferral::batch(&[("m1", "{}".to_owned()), ("m2", "{}".to_owned())]);
    let answer = lambda.invoke(messages).await.unwrap();
    assert_eq!(super::deferral::failed(&answer), ["m1", "m2"]);
    assert!(lambda.invoke(super::lambda::scheduled_event()).await.is_err());
}

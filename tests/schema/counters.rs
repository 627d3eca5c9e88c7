//! `intake_counters` and `security_events`: batches add up by their keys, and are idempotent.

use std::net::IpAddr;

use chrono::{DateTime, Duration, Utc};
use harness::Database;
use serde_json::Value;
use shared::model::Severity;
use shared::store::Store;
use shared::store::counters::{Counted, add};
use shared::store::security_events::{self, Refusals};
use uuid::Uuid;

/// Minutes after an arbitrary full hour.
pub(crate) fn minute(number: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(number)
}

fn counted(kind: &str, count: i64) -> Counted<'_> {
    Counted { source: "sdk", kind, count }
}

async fn count(store: &Store, batch: Uuid, counts: &[Counted<'_>], now: DateTime<Utc>) {
    store.run(|client| async move { add(&client, batch, counts, now).await }).await.unwrap();
}

pub(crate) fn refusals(id: Uuid, count: i64, first: i64, last: i64) -> Refusals {
    Refusals {
        id,
        event_type: "wrong_key",
        severity: Severity::Medium,
        source_ip: Some(IpAddr::from([192, 0, 2, 1])),
        description: "an invalid key".to_owned(),
        count,
        first_at: minute(first),
        last_at: minute(last),
    }
}

pub(crate) async fn refuse(store: &Store, batch: Uuid, rows: &[Refusals]) {
    store.run(|client| async move { security_events::add(&client, batch, rows).await }).await.unwrap();
}

#[tokio::test]
async fn input_is_counted_by_source_kind_and_hour() {
    let database = Database::migrated().await;
    let store = database.store();
    count(&store, Uuid::new_v4(), &[counted("session", 3), counted("event", 1)], minute(0)).await;
    count(&store, Uuid::new_v4(), &[counted("event", 2)], minute(59)).await;
    count(&store, Uuid::new_v4(), &[counted("event", 5)], minute(60)).await;
    let rows = database.rows("SELECT kind, count, hour FROM intake_counters ORDER BY hour, kind", &[]).await;
    let found: Vec<(String, i64, DateTime<Utc>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let expected = [("event", 3, minute(0)), ("session", 3, minute(0)), ("event", 5, minute(60))];
    assert_eq!(found, expected.map(|(kind, count, hour)| (kind.to_owned(), count, hour)));
}

#[tokio::test]
async fn a_batch_of_counts_is_idempotent() {
    let database = Database::migrated().await;
    let (store, batch) = (database.store(), Uuid::new_v4());
    for _ in 0..3 {
        count(&store, batch, &[counted("event", 2)], minute(0)).await;
    }
    assert_eq!(database.value::<i64>("SELECT count FROM intake_counters").await, 2);
}

#[tokio::test]
async fn refusals_add_up_in_one_row_with_the_first_and_the_last_time() {
    let database = Database::migrated().await;
    let (store, id) = (database.store(), Uuid::new_v4());
    let again = Uuid::new_v4();
    refuse(&store, Uuid::new_v4(), &[refusals(id, 1, 5, 5), refusals(Uuid::new_v4(), 1, 5, 5)]).await;
    for _ in 0..2 {
        refuse(&store, again, &[refusals(id, 7, 4, 6)]).await;
    }
    let sql = format!("SELECT * FROM security_events WHERE event_id = 'SEC-{id}'");
    let row = &database.rows(&sql, &[]).await[0];
    let text = |name: &str| row.get::<_, String>(name);
    assert_eq!((text("event_type"), text("severity")), ("wrong_key".to_owned(), "MEDIUM".to_owned()));
    assert_eq!((text("status"), text("action_taken")), ("detected".to_owned(), "refused".to_owned()));
    assert_eq!((text("source_ip"), text("description")), ("192.0.2.0/24".to_owned(), "an invalid key".to_owned()));
    assert_eq!(row.get::<_, DateTime<Utc>>("timestamp"), minute(4));
    let metadata: Value = row.get("metadata");
    let at = |name: &str| metadata[name].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!((&metadata["count"], at("first_at"), at("last_at")), (&Value::from(8), minute(4), minute(6)));
    assert_eq!(database.count("security_events").await, 2);
}

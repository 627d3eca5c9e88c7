//! `security_events` under a scan: its rows are bounded, and a burst opens one incident.

use std::net::IpAddr;
use std::ops::Range;

use harness::Database;
use shared::store::security_events::{ROWS_PER_HOUR, Refusals};
use uuid::Uuid;

use crate::counters::{minute, refusals, refuse};

/// Refusals of one kind in a minute, each from another network.
fn scan(kind: &'static str, networks: Range<u16>, at: i64) -> Vec<Refusals> {
    let each = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{kind} {number} {at}").as_bytes());
        Refusals { event_type: kind, source_ip: Some(IpAddr::from([10, high, low, 1])), ..refusals(id, 1, at, at) }
    };
    networks.map(each).collect()
}

async fn refused(database: &Database) -> i64 {
    database.value("SELECT sum((metadata ->> 'count')::bigint)::bigint FROM security_events").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_kind_are_bounded_per_hour_across_processes_and_every_refusal_counts() {
    let database = Database::migrated().await;
    let mut processes = tokio::task::JoinSet::new();
    for process in 0..8 {
        let store = database.store();
        processes.spawn(async move {
            for at in [2, 13, 24] {
                refuse(&store, Uuid::new_v4(), &scan("wrong_key", process * 50..process * 50 + 50, at)).await;
            }
        });
    }
    processes.join_all().await;
    assert_eq!(database.count("security_events WHERE source_ip IS NOT NULL").await, ROWS_PER_HOUR);
    assert_eq!(database.count("security_events WHERE source_ip IS NULL").await, 3, "one for ten minutes");
    assert_eq!(refused(&database).await, 8 * 3 * 50);
    refuse(&database.store(), Uuid::new_v4(), &scan("wrong_key", 0..1, 60)).await;
    refuse(&database.store(), Uuid::new_v4(), &scan("bad_signature", 0..1, 24)).await;
    let with_network = database.count("security_events WHERE source_ip IS NOT NULL").await;
    assert_eq!(with_network, ROWS_PER_HOUR + 2, "another hour, another kind");
    let bytes: i64 = database.value("SELECT max(pg_column_size(e.*))::bigint FROM security_events AS e").await;
    assert!(bytes < 450, "{bytes} bytes");
}

#[tokio::test]
async fn a_retried_batch_is_idempotent_even_if_others_came_in_between() {
    let database = Database::migrated().await;
    let (store, batch) = (database.store(), Uuid::new_v4());
    let rows = scan("wrong_key", 0..70, 5);
    for _ in 0..3 {
        refuse(&store, batch, &rows).await;
        refuse(&store, Uuid::new_v4(), &scan("wrong_key", 0..1, 5)).await;
    }
    assert_eq!(refused(&database).await, 70 + 3);
    assert_eq!(
        database.value::<i64>("SELECT count FROM security_event_counts WHERE span = 'ten_minutes'").await,
        70 + 3
    );
}

const INCIDENTS: &str = "incidents WHERE category = 'security' AND application = 'watchkeeper'";

#[tokio::test]
async fn a_burst_opens_one_incident_and_later_refusals_are_occurrences() {
    let database = Database::migrated().await;
    let store = database.store();
    // 25 and 25 within ten minutes, on both sides of a full ten minutes.
    refuse(&store, Uuid::new_v4(), &scan("wrong_key", 0..25, 9)).await;
    refuse(&store, Uuid::new_v4(), &scan("wrong_key", 30..54, 10)).await;
    assert_eq!(database.count(INCIDENTS).await, 0, "49");
    refuse(&store, Uuid::new_v4(), &scan("bad_signature", 0..49, 10)).await;
    assert_eq!(database.count(INCIDENTS).await, 0, "another kind");
    let batch = Uuid::new_v4();
    for _ in 0..2 {
        refuse(&store, batch, &scan("wrong_key", 60..61, 10)).await;
    }
    let sql = "SELECT incident_id::text, severity::text, environment, title::text, error_message, id FROM incidents";
    let rows = database.rows(sql, &[]).await;
    assert_eq!(rows.len(), 1);
    let text = |place: usize| rows[0].get::<_, String>(place);
    assert_eq!(
        (text(1), text(2), text(3)),
        ("MEDIUM".to_owned(), "production".to_owned(), "Many requests are refused: wrong key".to_owned())
    );
    assert!(!text(4).contains("10.0"), "no addresses: {}", text(4));
    let all = "security_events WHERE event_type = 'wrong_key'";
    assert_eq!(database.count(&format!("{all} AND incident_created IS NULL")).await, 0);
    assert_eq!(database.count(&format!("{all} AND incident_created IS NOT NULL")).await, 50);
    assert_eq!(
        database.count("security_events WHERE event_type <> 'wrong_key' AND incident_created IS NOT NULL").await,
        0
    );
    let opened = "event_outbox WHERE detail_type = 'IncidentOpened'
        AND detail ->> 'incident_id' IN (SELECT incident_id FROM incidents WHERE category = 'security')";
    assert_eq!(database.count(opened).await, 1);
    assert_eq!(database.count("agent_actions WHERE action_type = 'refusals_burst'").await, 1);
    for at in 11..40 {
        refuse(&store, Uuid::new_v4(), &scan("wrong_key", 0..100, at)).await;
    }
    assert_eq!((database.count("incidents").await, database.count(opened).await), (1, 1));
    let counted: i64 = database.value("SELECT occurrences FROM incidents").await;
    assert_eq!(counted, 50 + 29 * 100, "the burst, and all later refusals");
}

#[tokio::test]
async fn no_second_incident_of_refusals_opens_within_an_hour_of_its_resolution() {
    let database = Database::migrated().await;
    let store = database.store();
    refuse(&store, Uuid::new_v4(), &scan("wrong_key", 0..60, 5)).await;
    assert_eq!(database.count(INCIDENTS).await, 1);
    let at = minute(10).to_rfc3339();
    database.execute(&format!("UPDATE incidents SET status = 'resolved', resolved_at = '{at}'")).await;
    for at in [11, 30, 69] {
        refuse(&store, Uuid::new_v4(), &scan("wrong_key", 0..60, at)).await;
    }
    assert_eq!(database.count(INCIDENTS).await, 1);
    refuse(&store, Uuid::new_v4(), &scan("wrong_key", 0..60, 71)).await;
    assert_eq!(database.count(INCIDENTS).await, 2);
    assert_eq!(database.count("incidents WHERE status <> 'resolved'").await, 1);
}

#[tokio::test]
async fn many_old_deliveries_are_recorded_and_are_no_burst() {
    let database = Database::migrated().await;
    refuse(&database.store(), Uuid::new_v4(), &scan("old_delivery", 0..60, 5)).await;
    assert_eq!((refused(&database).await, database.count("incidents").await), (60, 0));
    refuse(&database.store(), Uuid::new_v4(), &scan("bad_signature", 0..60, 5)).await;
    assert_eq!((refused(&database).await, database.count("incidents").await), (120, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_detected_across_processes() {
    let database = Database::migrated().await;
    let mut processes = tokio::task::JoinSet::new();
    for process in 0..10 {
        let store = database.store();
        processes.spawn(async move {
            refuse(&store, Uuid::new_v4(), &scan("bad_signature", process * 5..process * 5 + 5, 3)).await;
        });
    }
    processes.join_all().await;
    assert_eq!(database.value::<i64>("SELECT occurrences FROM incidents").await, 50);
    assert_eq!(database.count("event_outbox").await, 1);
}

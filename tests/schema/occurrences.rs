//! One incident, many occurrences: counting while its row is locked, its samples, its users, and its reopening.

use std::sync::Arc;

use chrono::Duration;
use harness::Database;
use shared::model::{Severity, UserKey};
use shared::store::reports::ClassifiedReport;

use crate::batch::{fold, noon, report, report_at, rows, write};

fn nth(number: u32) -> ClassifiedReport {
    report_at(&number.to_string(), "disk full", Severity::Low, noon() + Duration::seconds(number.into()))
}

async fn occurrences(database: &Database) -> i64 {
    database.value("SELECT occurrences FROM incidents").await
}

#[tokio::test]
async fn occurrences_of_a_locked_incident_do_not_wait_and_are_folded_later() {
    let database = Database::migrated().await;
    let store = database.store();
    write(&store, &[nth(0)]).await;
    database.execute("BEGIN; SELECT FROM incidents FOR UPDATE").await;
    for number in 1..=5 {
        assert_eq!(write(&store, &[nth(number)]).await.len(), 1);
    }
    assert_eq!((occurrences(&database).await, database.count("incident_occurrences").await), (1, 5));
    // Readers of the incident see them before they are folded.
    let incidents = store
        .run(|client| async move { shared::store::incidents::list(&client, &Default::default(), None, 10).await })
        .await
        .unwrap();
    let first = &incidents[0].summary;
    assert_eq!((first.occurrences, first.last_seen_at), (6, noon() + Duration::seconds(5)));
    // Folding skips a locked incident.
    fold(&store).await;
    assert_eq!(occurrences(&database).await, 1);
    database.execute("ROLLBACK").await;
    fold(&store).await;
    assert_eq!((occurrences(&database).await, database.count("incident_occurrences").await), (6, 0));
    assert_eq!(database.count("incidents WHERE last_seen_at = updated_at").await, 1);
}

#[tokio::test]
async fn the_next_report_that_locks_the_incident_folds_the_waiting_occurrences() {
    let database = Database::migrated().await;
    let store = database.store();
    write(&store, &[nth(0)]).await;
    database
        .execute(
            "INSERT INTO incident_occurrences (incident, occurrences, last_seen_at)
            SELECT id, 10, now() FROM incidents, generate_series(1, 3)",
        )
        .await;
    write(&store, &[nth(1)]).await;
    assert_eq!((occurrences(&database).await, database.count("incident_occurrences").await), (32, 0));
}

#[tokio::test]
async fn a_more_severe_report_waits_for_the_lock_and_raises_the_severity_at_once() {
    let database = Database::migrated().await;
    let store = database.store();
    write(&store, &[nth(0)]).await;
    database.execute("BEGIN; SELECT FROM incidents FOR UPDATE").await;
    let writing = {
        let store = store.clone();
        tokio::spawn(async move { write(&store, &[report("worse", "disk full", Severity::Critical)]).await })
    };
    database.wait_until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted").await;
    database.execute("COMMIT").await;
    assert_eq!(writing.await.unwrap().len(), 1);
    assert_eq!(database.count("incidents WHERE severity = 'CRITICAL' AND occurrences = 2").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_error_from_many_writers_is_counted_exactly() {
    let database = Database::migrated().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = database.store();
        writers.spawn(async move {
            for number in 0..25 {
                write(&store, &[report(&format!("{writer} {number}"), "disk full", Severity::Low)]).await;
            }
        });
    }
    writers.join_all().await;
    fold(&database.store()).await;
    assert_eq!((occurrences(&database).await, database.count("incidents").await), (200, 1));
    assert_eq!(database.count("inbound_deliveries").await, 200);
}

#[tokio::test]
async fn samples_are_the_first_each_power_of_two_and_the_last() {
    let database = Database::migrated().await;
    let store = database.store();
    for number in 1..=11 {
        write(&store, &[nth(number)]).await;
    }
    let samples: Vec<(i64, i64)> = database
        .rows(
            "SELECT position, extract(epoch FROM received_at - $1)::bigint FROM incident_samples ORDER BY position",
            &[&noon()],
        )
        .await
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(samples, [(0, 11), (1, 1), (2, 2), (4, 4), (8, 8)]);
    // The last one is written once a second, however often it happens.
    let again = report_at("again", "disk full", Severity::Low, noon() + Duration::milliseconds(11_500));
    write(&store, &[again]).await;
    assert_eq!(database.count("incident_samples WHERE position = 0 AND received_at > '2024-10-04 12:00:11Z'").await, 0);
}

#[tokio::test]
async fn people_are_counted_once_each() {
    let database = Database::migrated().await;
    let store = database.store();
    for (number, user) in ["ann", "bob", "ann", "cid", "bob"].into_iter().enumerate() {
        let mut report = report(&number.to_string(), "disk full", Severity::Low);
        Arc::make_mut(&mut report.report).user = Some(UserKey::of("shop", user));
        write(&store, &[report]).await;
    }
    assert_eq!(database.count("incidents WHERE user_count = 3").await, 1);
    assert_eq!(database.count("incident_users WHERE user_key ~ '^[0-9a-f]{16}$'").await, 3);
}

#[tokio::test]
async fn releases_are_the_first_and_the_last() {
    let database = Database::migrated().await;
    let store = database.store();
    for (number, release) in [Some("1.0"), None, Some("1.1")].into_iter().enumerate() {
        let mut report = report(&number.to_string(), "disk full", Severity::Low);
        Arc::make_mut(&mut report.report).release = release.map(str::to_owned);
        write(&store, &[report]).await;
    }
    assert_eq!(database.count("incidents WHERE first_release = '1.0' AND last_release = '1.1'").await, 1);
}

#[tokio::test]
async fn what_happened_before_an_incident_was_over_does_not_open_it_again() {
    let database = Database::migrated().await;
    let store = database.store();
    write(&store, &[nth(0)]).await;
    let at = (noon() + Duration::hours(1)).to_rfc3339();
    database.execute(&format!("UPDATE incidents SET status = 'resolved', resolved_at = '{at}'")).await;
    let late = rows(&store, &[nth(30)]).await;
    assert_eq!((late[0].receipt.as_ref().unwrap().created, late[0].event), (false, None));
    assert_eq!(database.count("incidents WHERE status = 'resolved' AND occurrences = 2").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_open_an_incident_again_once() {
    let database = Database::migrated().await;
    write(&database.store(), &[nth(0)]).await;
    let at = (noon() - Duration::hours(1)).to_rfc3339();
    database.execute(&format!("UPDATE incidents SET status = 'resolved', resolved_at = '{at}'")).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 1..=8 {
        let store = database.store();
        writers.spawn(async move { rows(&store, &[nth(writer)]).await });
    }
    let events = writers.join_all().await.concat().iter().filter(|row| row.event.is_some()).count();
    fold(&database.store()).await;
    assert_eq!(events, 1);
    assert_eq!(database.count("incidents WHERE occurrences = 9 AND reopen_count = 1").await, 1);
    assert_eq!(database.count("event_outbox WHERE detail_type = 'IncidentReopened'").await, 1);
}

#[tokio::test]
async fn deleting_an_incident_deletes_its_rows() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut first = nth(0);
    Arc::make_mut(&mut first.report).user = Some(UserKey::of("shop", "ann"));
    write(&store, &[first]).await;
    database
        .execute(
            "INSERT INTO incident_occurrences (incident, occurrences, last_seen_at) SELECT id, 1, now() FROM incidents;
            ALTER TABLE agent_actions DISABLE TRIGGER USER; DELETE FROM agent_actions; DELETE FROM incidents",
        )
        .await;
    for table in ["incident_occurrences", "incident_samples", "incident_users"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn an_occurrence_that_was_counted_beside_a_resolution_reopens_the_incident() {
    let database = Database::migrated().await;
    let store = database.store();
    write(&store, &[nth(0)]).await;
    let at = (noon() + Duration::seconds(5)).to_rfc3339();
    database.execute(&format!("BEGIN; UPDATE incidents SET status = 'resolved', resolved_at = '{at}'")).await;
    write(&store, &[nth(10)]).await;
    database.execute("COMMIT").await;
    fold(&store).await;
    assert_eq!(database.count("incidents WHERE status = 'detected' AND occurrences = 2 AND reopen_count = 1").await, 1);
    assert_eq!(database.count("event_outbox WHERE detail_type = 'IncidentReopened'").await, 1);
    assert_eq!(database.count("agent_actions WHERE action_type = 'incident_reopened'").await, 1);
    // An occurrence before the resolution does not.
    let at = (noon() + Duration::seconds(60)).to_rfc3339();
    database.execute(&format!("BEGIN; UPDATE incidents SET status = 'resolved', resolved_at = '{at}'")).await;
    write(&store, &[nth(20)]).await;
    database.execute("COMMIT").await;
    fold(&store).await;
    assert_eq!(database.count("incidents WHERE status = 'resolved' AND occurrences = 3").await, 1);
}

#[tokio::test]
async fn of_incidents_with_one_fingerprint_one_is_reopened_and_the_rest_are_counted() {
    let database = Database::migrated().await;
    let store = database.store();
    database
        .execute(
            "INSERT INTO incidents (incident_id, title, severity, category, application, environment, error_message,
                fingerprint, status, resolved_at)
            SELECT 'INC-' || n, 'boom', 'LOW', 'unknown', 'shop', 'env' || n, 'boom', 'sentry:7', 'resolved',
                '2024-10-04'::timestamptz + n * interval '1 minute'
            FROM generate_series(1, 3) AS n;
            INSERT INTO incident_occurrences (incident, occurrences, last_seen_at)
            SELECT id, 2, '2024-10-05' FROM incidents",
        )
        .await;
    fold(&store).await;
    assert_eq!(database.count("incidents WHERE occurrences = 3").await, 3);
    assert_eq!(database.count("incidents WHERE status = 'detected' AND incident_id = 'INC-3'").await, 1);
    assert_eq!(database.count("incidents WHERE status = 'detected'").await, 1);
}

#[tokio::test]
async fn a_delivery_key_of_an_older_version_is_known() {
    let database = Database::migrated().await;
    let store = database.store();
    let first = nth(0);
    let receipt = write(&store, std::slice::from_ref(&first)).await.remove(0);
    // As it was written before the answer stood beside the key.
    database
        .execute(
            "UPDATE inbound_deliveries SET action_id = (SELECT id FROM agent_actions), incident = NULL, severity = NULL,
                category = NULL, created = false",
        )
        .await;
    let again = rows(&store, &[first]).await;
    assert_eq!((again[0].known, again[0].receipt.as_ref()), (true, Some(&receipt)));
    assert_eq!(occurrences(&database).await, 1);
}

#[tokio::test]
async fn the_first_sample_is_the_first_report_of_a_batch() {
    let database = Database::migrated().await;
    let batch: Vec<ClassifiedReport> = (0..100).map(nth).collect();
    write(&database.store(), &batch).await;
    assert_eq!(database.count("incident_samples WHERE position = 1 AND received_at = '2024-10-04'").await, 1);
}

#[tokio::test]
async fn cached_plans_do_not_read_all_incidents_of_an_application() {
    let database = Database::migrated().await;
    let store = database.store();
    // The first calls make the plans, on almost empty tables without statistics.
    write(&store, &[nth(0)]).await;
    database
        .execute(
            "INSERT INTO incidents (incident_id, title, severity, category, application, error_message, fingerprint)
            SELECT 'INC-' || n, 'boom', 'LOW', 'unknown', 'shop', 'boom', 'v2:' || n FROM generate_series(1, 20000) AS n",
        )
        .await;
    let read = "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes WHERE relname = 'incidents'";
    let before: i64 = database.value(read).await;
    for number in 1..=20 {
        write(&store, &[nth(number)]).await;
    }
    // A server process reports its statistics when it ends.
    store.close();
    let gone = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()";
    database.wait_until(gone).await;
    let after: i64 = database.value(read).await;
    assert!((20..20_000).contains(&(after - before)), "{} index entries were read for 20 reports", after - before);
}

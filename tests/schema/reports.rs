//! `record_reports`, in batches and by concurrent writers: every report counts exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Duration;
use harness::Database;
use harness::events::published;
use shared::config::Statements;
use shared::events::Event;
use shared::model::Severity;
use shared::store::reports::{ClassifiedReport, record};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::batch::{REOPEN_WITHIN, fold, noon, report, report_at, rows, write};

/// Pseudo-random numbers, the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// One of fifty errors that differ in letters: a fingerprint ignores numbers.
fn message(number: usize) -> String {
    let letter = |number: usize| char::from(b'a' + u8::try_from(number).unwrap());
    format!("no {}{} in stock", letter(number / 10), letter(number % 10))
}

async fn count_of_each_table(database: &Database) -> [i64; 4] {
    let mut counts = [0; 4];
    for (count, table) in counts.iter_mut().zip(["inbound_deliveries", "incidents", "agent_actions", "event_outbox"]) {
        *count = database.count(table).await;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_over_the_same_fifty_errors_lose_nothing_and_count_nothing_twice() {
    const WRITERS: usize = 8;
    const BATCHES: usize = 4;
    let database = Database::migrated().await;
    let mut worst = BTreeMap::new();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut numbers = Numbers(writer as u64);
        let mut batches = Vec::new();
        for batch in 0..BATCHES {
            // Each error twice, so that a batch also has duplicates.
            let mut reports: Vec<ClassifiedReport> = (0..100)
                .map(|position| {
                    let message = message(position % 50);
                    let severity = Severity::ALL[numbers.below(4)];
                    let known = worst.entry(message.clone()).or_insert(severity);
                    *known = severity.max(*known);
                    report(&format!("{writer} {batch} {position}"), &message, severity)
                })
                .collect();
            numbers.shuffle(&mut reports);
            batches.push(reports);
        }
        let store = database.store();
        writers.spawn(async move {
            let mut receipts = Vec::new();
            for batch in batches {
                receipts.extend(write(&store, &batch).await);
            }
            receipts
        });
    }
    let receipts = writers.join_all().await.concat();

    let reports = WRITERS * BATCHES * 100;
    assert_eq!(receipts.len(), reports);
    assert_eq!(receipts.iter().filter(|receipt| receipt.created).count(), 50);
    let reports = i64::try_from(reports).unwrap();
    fold(&database.store()).await;
    let [deliveries, incidents, actions, events] = count_of_each_table(&database).await;
    assert_eq!((deliveries, incidents), (reports, 50));
    // Each was opened once; every other event is a raised severity.
    assert_eq!(database.count("event_outbox WHERE detail_type = 'IncidentOpened'").await, 50);
    assert_eq!(database.count("event_outbox WHERE detail_type = 'AlertEscalated'").await, events - 50);
    assert_eq!(database.count("agent_actions WHERE action_type = 'severity_raised'").await, events - 50);
    assert!((50..=200).contains(&actions), "a repetition is counted, not audited: {actions}");
    let miscounted = format!("incidents WHERE occurrences <> {}", reports / 50);
    assert_eq!(database.count(&miscounted).await, 0);
    let severities: BTreeMap<String, Severity> = database
        .rows("SELECT error_message, severity::text FROM incidents", &[])
        .await
        .iter()
        .map(|row| (row.get(0), Severity::parse(row.get(1)).unwrap()))
        .collect();
    assert_eq!(severities, worst);
    // Each incident is announced once.
    let silent = "incidents WHERE 1 <> (SELECT count(*) FROM event_outbox
            WHERE detail ->> 'incident_id' = incident_id AND detail_type = 'IncidentOpened')";
    assert_eq!(database.count(silent).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_do_not_deadlock() {
    let database = Database::migrated().await;
    // Slowed down, so that the writers overlap.
    database
        .execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
            CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON incidents FOR EACH ROW EXECUTE FUNCTION dawdle();
            CREATE TRIGGER dawdle BEFORE INSERT ON inbound_deliveries FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .await;
    for keys in ["of its own", "the same"] {
        let mut writers = JoinSet::new();
        for writer in 0..4 {
            let owner = if keys == "the same" { 0 } else { writer };
            let mut batch: Vec<ClassifiedReport> = (0..50)
                .map(|number| report(&format!("{keys} {owner} {number}"), &message(number), Severity::Low))
                .collect();
            Numbers(writer).shuffle(&mut batch);
            let store = database.store();
            writers.spawn(async move { write(&store, &batch).await.len() });
        }
        let counted: usize = writers.join_all().await.into_iter().sum();
        assert_eq!(counted, if keys == "the same" { 50 } else { 200 }, "{keys}");
    }
    fold(&database.store()).await;
    assert_eq!(database.count("incidents WHERE occurrences = 4 + 1").await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_eight_concurrent_writers_and_its_retry_count_once() {
    let database = Database::migrated().await;
    let batch: Vec<ClassifiedReport> =
        (0..100).map(|number| report(&format!("{number}"), &message(number % 50), Severity::High)).collect();
    for round in 0..2 {
        let mut writers = JoinSet::new();
        for writer in 0..8 {
            let (store, mut batch) = (database.store(), batch.clone());
            Numbers(writer).shuffle(&mut batch);
            for report in &mut batch {
                // A sender's retry is classified again.
                report.action_id = Uuid::new_v4();
                report.incident_id = report.report.candidate_incident_id();
                report.event_id = Uuid::new_v4();
            }
            writers.spawn(async move { write(&store, &batch).await.len() });
        }
        let counted: usize = writers.join_all().await.into_iter().sum();
        assert_eq!(counted, if round == 0 { 100 } else { 0 }, "round {round}");
        assert_eq!(count_of_each_table(&database).await, [100, 50, 50, 50], "round {round}");
        fold(&database.store()).await;
        assert_eq!(database.count("incidents WHERE occurrences <> 2").await, 0, "round {round}");
    }
}

#[tokio::test]
async fn a_duplicate_delivery_in_a_batch_counts_once() {
    let database = Database::migrated().await;
    let batch = [
        report("same", "disk full", Severity::Low),
        report("same", "disk full", Severity::Low),
        report("same", "something else", Severity::Critical),
    ];
    let receipts = write(&database.store(), &batch).await;
    assert_eq!(receipts.len(), 1);
    assert_eq!((&receipts[0].incident_id, receipts[0].created), (&batch[0].incident_id, true));
    assert_eq!(count_of_each_table(&database).await, [1, 1, 1, 1]);
    assert_eq!(database.count("incidents WHERE occurrences = 1 AND error_message = 'disk full'").await, 1);
}

#[tokio::test]
async fn several_reports_of_one_new_error_open_one_incident_with_the_highest_severity() {
    let database = Database::migrated().await;
    let severities = [Severity::Low, Severity::Critical, Severity::Medium];
    let batch = [0, 1, 2].map(|number: i32| {
        let severity = severities[usize::try_from(number).unwrap()];
        let received_at = noon() + Duration::seconds(number.into());
        report_at(&number.to_string(), &format!("disk {number} is full"), severity, received_at)
    });
    let recorded = rows(&database.store(), &batch).await;
    assert_eq!(recorded.len(), 3);
    for row in &recorded {
        let position = batch.iter().position(|it| it.report.delivery_key.as_str() == row.delivery_key).unwrap();
        let receipt = row.receipt.as_ref().unwrap();
        assert_eq!((receipt.severity, receipt.created), (severities[position], position == 0));
        assert_eq!(receipt.incident_id, batch[0].incident_id);
    }
    assert_eq!(count_of_each_table(&database).await, [3, 1, 1, 1]);
    let row = &database
        .rows("SELECT occurrences, severity::text, title::text, detected_at, last_seen_at FROM incidents", &[])
        .await[0];
    assert_eq!((row.get::<_, i64>(0), row.get(1), row.get(2)), (3, "CRITICAL", "disk 0 is full"));
    assert_eq!((row.get(3), row.get(4)), (noon(), noon() + Duration::seconds(2)));
}

#[tokio::test]
async fn an_event_has_the_severity_of_its_incident() {
    let database = Database::migrated().await;
    let batch = [report("1", "disk full", Severity::Low), report("2", "disk full", Severity::Critical)];
    write(&database.store(), &batch).await;
    let events = published(&database).await;
    let Event::IncidentOpened(opened) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((opened.incident.severity, events.len()), (Severity::Critical, 1));
}

#[tokio::test]
async fn a_later_report_raises_the_severity_and_never_lowers_it() {
    let database = Database::migrated().await;
    let store = database.store();
    for (key, severity, expected) in [
        ("1", Severity::Medium, "MEDIUM"),
        ("2", Severity::Low, "MEDIUM"),
        ("3", Severity::High, "HIGH"),
        ("4", Severity::Medium, "HIGH"),
    ] {
        let receipts = write(&store, &[report(key, "disk full", severity)]).await;
        assert_eq!((receipts[0].severity, receipts[0].created), (severity, key == "1"));
        assert_eq!(database.value::<String>("SELECT severity::text FROM incidents").await, expected);
    }
    assert_eq!(count_of_each_table(&database).await, [4, 1, 2, 2]);
    let worse: String =
        database.value("SELECT detail ->> 'severity' FROM event_outbox WHERE detail_type = 'AlertEscalated'").await;
    assert_eq!(worse, "HIGH");
    let raised: String = database.value("SELECT max(action_type::text) FROM agent_actions").await;
    assert_eq!(raised, "severity_raised");
}

#[tokio::test]
async fn a_late_report_does_not_lower_last_seen_at() {
    let database = Database::migrated().await;
    let store = database.store();
    write(&store, &[report("1", "disk full", Severity::Low)]).await;
    write(&store, &[report_at("2", "disk full", Severity::Low, noon() - Duration::hours(1))]).await;
    let row = &database.rows("SELECT last_seen_at, updated_at, occurrences FROM incidents", &[]).await[0];
    assert_eq!((row.get(0), row.get(1), row.get::<_, i64>(2)), (noon(), noon(), 2));
}

#[tokio::test]
async fn an_error_after_its_incident_was_resolved_opens_another() {
    let database = Database::migrated().await;
    let store = database.store();
    write(&store, &[report("1", "disk full", Severity::Low)]).await;
    database.execute("UPDATE incidents SET status = 'resolved'").await;
    let receipts = write(&store, &[report("2", "disk full", Severity::Low)]).await;
    assert!(receipts[0].created);
    assert_eq!(database.count("incidents WHERE occurrences = 1").await, 2);
    assert_eq!(database.count("event_outbox").await, 2);
}

#[tokio::test]
async fn a_retried_delivery_gets_its_first_answer() {
    let database = Database::migrated().await;
    let store = database.store();
    let first = report("1", "disk full", Severity::Low);
    let receipts = write(&store, std::slice::from_ref(&first)).await;
    // A raised severity and a resolution do not change the answer.
    write(&store, &[report("2", "disk full", Severity::Critical)]).await;
    database.execute("UPDATE incidents SET status = 'resolved'").await;
    let again = rows(&store, std::slice::from_ref(&first)).await;
    assert_eq!((again.len(), again[0].known, again[0].event), (1, true, None));
    assert_eq!(again[0].receipt.as_ref(), Some(&receipts[0]));
    assert_eq!(again[0].content_hash, Some(first.report.content_hash()));
    database.execute("ALTER TABLE agent_actions DISABLE TRIGGER USER").await;
    database.execute("DELETE FROM agent_actions; DELETE FROM incidents").await;
    assert_eq!(rows(&store, &[first]).await[0].receipt, None, "its answer is gone with the incident");
}

#[tokio::test]
async fn a_batch_with_one_invalid_report_writes_nothing() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut too_long = report("2", "too long", Severity::Low);
    Arc::make_mut(&mut too_long.report).application = "a".repeat(101);
    let batch = &[report("1", "disk full", Severity::Low), too_long];
    let error = store
        .run(|client| async move { record(&client, batch, REOPEN_WITHIN, Statements::Unnamed).await })
        .await
        .unwrap_err();
    assert!(matches!(error, shared::store::StoreError::Data(_)), "{error:?}");
    assert_eq!(count_of_each_table(&database).await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn an_empty_batch_writes_nothing() {
    let database = Database::migrated().await;
    assert_eq!(write(&database.store(), &[]).await, []);
}

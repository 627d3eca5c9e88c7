//! Limits of an application: the severity of its incidents, and how many new ones it opens within an hour.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use harness::Database;
use serde_json::Value;
use shared::fingerprint::Fingerprint;
use shared::model::{ApplicationChanges, ApplicationName, Severity, SeverityBound};
use shared::store::Store;
use shared::store::applications::{change, upsert};
use shared::store::reports::ClassifiedReport;
use tokio::task::JoinSet;

use crate::batch::{fold, noon, report, report_at, rows, write};

/// An application named `shop`, as in the reports of these tests.
async fn application(store: &Store, environment: Option<&str>, changes: ApplicationChanges) -> i64 {
    let name = &ApplicationName::parse("shop").unwrap();
    let environment = environment.map(|text| ApplicationName::parse(text).unwrap());
    let (environment, changes) = (environment.as_ref(), &changes);
    let made = store.run(|client| async move { upsert(&client, name, environment, changes, Utc::now()).await }).await;
    made.unwrap().0.application.number
}

async fn limited(store: &Store, new_incidents: i32) -> i64 {
    let changes = ApplicationChanges { new_incidents_per_hour: Some(new_incidents), ..ApplicationChanges::default() };
    application(store, None, changes).await
}

async fn capped(store: &Store, most: Severity) -> i64 {
    let max_severity = Some(SeverityBound::AtMost(most));
    application(store, None, ApplicationChanges { max_severity, ..ApplicationChanges::default() }).await
}

fn of(project: i64, mut classified: ClassifiedReport) -> ClassifiedReport {
    Arc::make_mut(&mut classified.report).project = Some(project);
    classified
}

/// Errors that differ in a word: fingerprints ignore numbers.
fn errors(project: i64, from: u32, count: u32, at: DateTime<Utc>) -> Vec<ClassifiedReport> {
    let word = |number: u32| char::from_u32(0x4e00 + number).unwrap();
    (from..from + count)
        .map(|number| {
            let message = format!("no {} in stock", word(number));
            of(project, report_at(&message, &message, Severity::Medium, at))
        })
        .collect()
}

async fn severities(database: &Database) -> Vec<String> {
    let rows = database.rows("SELECT severity::text FROM incidents ORDER BY severity", &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn incidents_of_a_capped_application_never_exceed_its_cap() {
    let database = Database::migrated().await;
    let store = database.store();
    let project = capped(&store, Severity::High).await;
    let critical = |key: &str, message: &str| of(project, report(key, message, Severity::Critical));
    let receipts = write(&store, &[critical("1", "data loss")]).await;
    assert_eq!((receipts[0].severity, receipts[0].created), (Severity::High, true));
    assert_eq!(rows(&store, &[critical("1", "data loss")]).await[0].receipt.as_ref().unwrap().severity, Severity::High);
    write(&store, &[of(project, report("2", "disk full", Severity::Low))]).await;
    // A repetition of "disk full", and another one in the same batch.
    write(&store, &[critical("3", "disk full"), of(project, report("4", "disk full", Severity::Medium))]).await;
    assert_eq!(severities(&database).await, ["HIGH", "HIGH"]);
    for worse in [
        "incident_samples WHERE severity = 'CRITICAL'",
        "inbound_deliveries WHERE severity = 'CRITICAL'",
        "agent_actions WHERE action_details ->> 'severity' = 'CRITICAL'",
        "event_outbox WHERE detail ->> 'severity' = 'CRITICAL'",
    ] {
        assert_eq!(database.count(worse).await, 0, "{worse}");
    }
    let milder: i64 = database.count("inbound_deliveries WHERE severity = 'MEDIUM'").await;
    assert_eq!(milder, 1, "severities below the cap are unchanged");
}

#[tokio::test]
async fn a_cap_applies_to_its_application_only_and_while_it_is_set() {
    let database = Database::migrated().await;
    let store = database.store();
    let project = capped(&store, Severity::Low).await;
    let other = application(&store, Some("test"), ApplicationChanges::default()).await;
    let batch = [
        of(project, report("1", "capped", Severity::Critical)),
        of(other, report("2", "another one of this name", Severity::Critical)),
        report("3", "with an operator's key", Severity::Critical),
        of(4_711, report("4", "of an unknown number", Severity::Critical)),
        // All of them on one incident: the highest severity within the caps.
        of(project, report("5", "together", Severity::Critical)),
        of(other, report("6", "together", Severity::High)),
        report("7", "together", Severity::Medium),
    ];
    write(&store, &batch).await;
    assert_eq!(severities(&database).await, ["CRITICAL", "CRITICAL", "CRITICAL", "HIGH", "LOW"]);
    let together = "incidents WHERE error_message = 'together' AND severity = 'HIGH' AND occurrences = 3";
    assert_eq!(database.count(together).await, 1);
    let no_cap = &ApplicationChanges { max_severity: Some(SeverityBound::None), ..ApplicationChanges::default() };
    let changed = store.run(|client| async move { change(&client, project, no_cap, Utc::now()).await }).await;
    assert_eq!(changed.unwrap().unwrap().max_severity, None);
    write(&store, &[of(project, report("8", "capped", Severity::Critical))]).await;
    assert_eq!(database.count("incidents WHERE error_message = 'capped' AND severity = 'CRITICAL'").await, 1);
}

#[tokio::test]
async fn a_capped_report_does_not_reopen_an_incident_above_its_cap() {
    let database = Database::migrated().await;
    let store = database.store();
    let project = capped(&store, Severity::High).await;
    let at = |minutes: i64| noon() + Duration::minutes(minutes);
    let failed = |key: &str, severity, minutes| report_at(key, "payments fail", severity, at(minutes));
    write(&store, &[failed("1", Severity::Critical, 0)]).await;
    let resolve = "UPDATE incidents SET status = 'resolved', resolved_at = detected_at + interval '10 minutes'";
    database.execute(resolve).await;
    let late = write(&store, &[of(project, failed("2", Severity::Critical, 5))]).await;
    assert!(!late[0].created, "a report from before the resolution is counted there");
    let receipts = write(&store, &[of(project, failed("3", Severity::Critical, 20))]).await;
    assert!(receipts[0].created);
    let incidents = "SELECT severity || ' ' || status || ' ' || occurrences FROM incidents ORDER BY detected_at";
    let read = async || -> Vec<String> { database.rows(incidents, &[]).await.iter().map(|row| row.get(0)).collect() };
    assert_eq!(read().await, ["CRITICAL resolved 2", "HIGH detected 1"]);
    write(&store, &[failed("4", Severity::Critical, 21)]).await;
    assert_eq!(read().await, ["CRITICAL resolved 2", "CRITICAL detected 2"], "uncapped reports still raise it");
    database.execute(&format!("{resolve}; UPDATE incidents SET severity = 'HIGH'")).await;
    write(&store, &[of(project, failed("5", Severity::Critical, 40))]).await;
    assert_eq!(read().await, ["HIGH resolved 2", "HIGH detected 3"], "an incident at the cap is reopened");
}

#[tokio::test]
async fn new_errors_beyond_the_hourly_limit_are_counted_on_one_incident_and_none_is_lost() {
    let database = Database::migrated().await;
    let store = database.store();
    let project = limited(&store, 3).await;
    let opened = async |first, count| {
        let receipts = write(&store, &errors(project, first, count, noon())).await;
        receipts.iter().filter(|receipt| receipt.created).count()
    };
    assert_eq!((opened(0, 3).await, opened(3, 2).await), (3, 1), "the fourth counts the rest");
    // Known errors are still counted on their own incidents, and do not use up the limit.
    let mut again = errors(project, 0, 3, noon() + Duration::minutes(1));
    for classified in &mut again {
        Arc::make_mut(&mut classified.report).delivery_key = shared::model::DeliveryKey::unique("again", noon());
    }
    assert!(write(&store, &again).await.iter().all(|receipt| !receipt.created));
    write(&store, &errors(project, 100, 40, noon() + Duration::minutes(59))).await;
    assert_eq!(database.count("incidents").await, 4);
    let overflow =
        &database.rows("SELECT to_jsonb(incidents) FROM incidents WHERE fingerprint LIKE 'overflow:%'", &[]).await[0];
    let overflow: Value = overflow.get(0);
    assert_eq!(overflow["fingerprint"], format!("overflow:{project}"));
    assert_eq!(overflow["title"], "More than 3 new errors within an hour: shop");
    assert_eq!((&overflow["application"], &overflow["environment"]), (&"shop".into(), &"production".into()));
    assert_eq!((&overflow["occurrences"], &overflow["severity"]), (&42.into(), &"MEDIUM".into()));
    assert!(overflow["error_message"].as_str().unwrap().contains("--new-per-hour"), "{overflow}");
    assert_eq!(overflow["stack_trace"], Value::Null);
    let announced =
        format!("event_outbox WHERE detail ->> 'title' = {}", "'More than 3 new errors within an hour: shop'");
    assert_eq!(database.count(&announced).await, 1);
    let counted: i64 = database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!(counted, 5 + 3 + 40);
    assert!(database.count("incident_samples WHERE error_message LIKE 'no % in stock'").await > 5, "samples exist");
    // A redelivery gets the answer of the first delivery.
    let known = rows(&store, &errors(project, 110, 1, noon() + Duration::minutes(59))).await;
    assert!(known[0].known && known[0].receipt.as_ref().unwrap().incident_id.as_str() == overflow["incident_id"]);
    // An hour after the first three, three more.
    write(&store, &errors(project, 200, 5, noon() + Duration::hours(1))).await;
    assert_eq!(database.count("incidents").await, 7);
}

#[tokio::test]
async fn the_limit_applies_across_environments_and_client_fingerprints() {
    let database = Database::migrated().await;
    let store = database.store();
    let changes = ApplicationChanges { new_incidents_per_hour: Some(0), ..ApplicationChanges::default() };
    let project = application(&store, Some("staging"), changes).await;
    let mut batch = errors(project, 0, 20, noon());
    for (number, classified) in batch.iter_mut().enumerate() {
        let report = Arc::make_mut(&mut classified.report);
        report.environment = format!("environment {number}");
        report.client_fingerprint = vec![format!("overflow:{number}")];
        classified.fingerprint = Fingerprint::of_report(&classified.report);
    }
    write(&store, &batch).await;
    let counted = "incidents WHERE environment = 'staging' AND occurrences = 20 AND fingerprint LIKE 'overflow:%'";
    assert_eq!((database.count("incidents").await, database.count(counted).await), (1, 1));
    // After resolving it reopens, and no other is opened.
    database.execute("UPDATE incidents SET status = 'resolved', resolved_at = detected_at + interval '1 minute'").await;
    write(&store, &errors(project, 50, 1, noon() + Duration::minutes(2))).await;
    assert_eq!(
        (database.count("incidents").await, database.count("incidents WHERE status = 'detected'").await),
        (1, 1)
    );
    write(&store, &[report("of another", "not of this DSN", Severity::Medium)]).await;
    assert_eq!(database.count("incidents").await, 2, "other applications are not limited");
}

#[tokio::test]
async fn the_overflow_incident_has_the_highest_severity_within_the_cap() {
    let database = Database::migrated().await;
    let store = database.store();
    let changes = ApplicationChanges {
        new_incidents_per_hour: Some(0),
        max_severity: Some(SeverityBound::AtMost(Severity::High)),
        ..ApplicationChanges::default()
    };
    let project = application(&store, None, changes).await;
    for (severity, expected) in [(Severity::Low, "LOW"), (Severity::Critical, "HIGH"), (Severity::Medium, "HIGH")] {
        write(&store, &[of(project, report(severity.as_str(), &format!("a {severity} error"), severity))]).await;
        assert_eq!(severities(&database).await, [expected]);
    }
}

#[tokio::test]
async fn a_changed_limit_applies_at_once() {
    let database = Database::migrated().await;
    let store = database.store();
    let project = limited(&store, 2).await;
    let set = async |number| {
        let changes = &ApplicationChanges { new_incidents_per_hour: Some(number), ..ApplicationChanges::default() };
        store.run(|client| async move { change(&client, project, changes, Utc::now()).await }).await.unwrap().unwrap();
    };
    write(&store, &errors(project, 0, 3, noon())).await;
    assert_eq!(database.count("incidents").await, 3);
    set(4).await;
    write(&store, &errors(project, 10, 3, noon())).await;
    assert_eq!(database.count("incidents").await, 5);
    set(1).await;
    write(&store, &errors(project, 20, 3, noon() + Duration::hours(1))).await;
    assert_eq!(database.count("incidents").await, 6);
}

/// Each writer opens its own errors, and those of the others in another order.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_open_exactly_the_limit_and_never_deadlock() {
    const WRITERS: u32 = 8;
    const LIMIT: i32 = 20;
    let database = Database::migrated().await;
    // Slowed down, so that the writers run at the same time.
    database
        .execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$;
            CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON incidents FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .await;
    let store = database.store();
    let project = limited(&store, LIMIT).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = database.store();
        writers.spawn(async move {
            for batch in 0..5 {
                let mut reports = errors(project, writer * 100 + batch * 10, 10, noon());
                // And one error that all of them report, with rising severity: they wait for its row.
                let severity = Severity::ALL[usize::try_from(batch.min(3)).unwrap()];
                reports.push(of(project, report(&format!("{writer} {batch}"), "known to all", severity)));
                write(&store, &reports).await;
            }
        });
    }
    writers.join_all().await;
    fold(&store).await;
    let rows = database.rows("SELECT fingerprint::text, occurrences::bigint FROM incidents", &[]).await;
    let fingerprints: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(fingerprints.len(), rows.len());
    let overflows = fingerprints.iter().filter(|fingerprint| fingerprint.starts_with("overflow:")).count();
    assert_eq!((overflows, i32::try_from(rows.len()).unwrap()), (1, LIMIT + 1));
    let counted: i64 = rows.iter().map(|row| row.get::<_, i64>(1)).sum();
    assert_eq!(counted, i64::from(WRITERS * 5 * 11));
}

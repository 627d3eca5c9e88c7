//! `check_ins`: the last check-in of each job, in whatever order they arrive.

use chrono::{DateTime, Duration, Utc};
use harness::Database;
use serde_json::{Value, json};
use shared::model::{ApplicationChanges, ApplicationName, CheckIn, CheckInStatus, SeverityBound};
use shared::store::Store;
use shared::store::{applications, check_ins};

/// Minutes after an arbitrary instant.
fn minute(number: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(number)
}

async fn application(store: &Store) -> i64 {
    let name = &ApplicationName::parse("shop").unwrap();
    store
        .run(|client| async move {
            applications::upsert(&client, name, None, &ApplicationChanges::default(), minute(0)).await
        })
        .await
        .unwrap()
        .0
        .application
        .number
}

fn check_in(application: i64, run: &str, status: CheckInStatus, at: i64) -> CheckIn {
    CheckIn {
        application,
        environment: "production".to_owned(),
        monitor_slug: "nightly".to_owned(),
        check_in_id: run.to_owned(),
        status,
        duration_ms: None,
        config: None,
        received_at: minute(at),
    }
}

#[tokio::test]
async fn an_application_with_a_public_dsn_stores_no_check_ins() {
    let database = Database::migrated().await;
    let store = database.store();
    let name = &ApplicationName::parse("page").unwrap();
    let (severity, new_incidents_per_hour) = ApplicationChanges::BROWSER;
    let browser = &ApplicationChanges {
        max_severity: Some(SeverityBound::AtMost(severity)),
        new_incidents_per_hour: Some(new_incidents_per_hour),
        ..ApplicationChanges::default()
    };
    let made = store.run(|client| async move { applications::upsert(&client, name, None, browser, minute(0)).await });
    let page = made.await.unwrap().0.application.number;
    assert!(!keep(&store, &check_in(page, "a", CheckInStatus::Ok, 1)).await);
    let server = application(&store).await;
    assert!(keep(&store, &check_in(server, "a", CheckInStatus::Ok, 1)).await);
    assert_eq!(database.count("check_ins").await, 1);
}

async fn keep(store: &Store, check_in: &CheckIn) -> bool {
    store.run(|client| async move { check_ins::upsert(&client, check_in).await }).await.unwrap()
}

/// Run, status, minute of the last check-in, minute of the last success.
type Kept<'a> = (&'a str, &'a str, i64, Option<i64>);

/// Run, status, and the minute in which it arrived.
type Arrival<'a> = (&'a str, CheckInStatus, i64);

async fn kept(database: &Database) -> (String, String, i64, Option<i64>) {
    let rows = database.rows("SELECT check_in_id, status, received_at, last_ok_at FROM check_ins", &[]).await;
    assert_eq!(rows.len(), 1);
    let minutes = |at: DateTime<Utc>| (at - minute(0)).num_minutes();
    (rows[0].get(0), rows[0].get(1), minutes(rows[0].get(2)), rows[0].get::<_, Option<_>>(3).map(minutes))
}

#[tokio::test]
async fn a_job_has_one_row_and_older_check_ins_do_not_replace_it() {
    use CheckInStatus::{Error, InProgress, Ok};
    // The arrivals in order, and the row afterwards.
    let cases: [(&str, &[Arrival], Kept); 8] = [
        ("begin and end", &[("a", InProgress, 1), ("a", Ok, 2)], ("a", "ok", 2, Some(2))),
        ("the end arrives first", &[("a", Ok, 1), ("a", InProgress, 2)], ("a", "ok", 1, Some(1))),
        ("the end has an older time", &[("a", InProgress, 2), ("a", Ok, 1)], ("a", "ok", 1, Some(1))),
        ("the next run", &[("a", Ok, 1), ("b", InProgress, 2)], ("b", "in_progress", 2, Some(1))),
        ("an earlier success is late", &[("b", InProgress, 2), ("a", Ok, 1)], ("b", "in_progress", 2, Some(1))),
        ("an earlier failure is late", &[("b", Ok, 2), ("a", Error, 1)], ("b", "ok", 2, Some(2))),
        ("a failure keeps the last success", &[("a", Ok, 1), ("b", Error, 2)], ("b", "error", 2, Some(1))),
        ("delivered twice", &[("a", Ok, 1), ("a", Ok, 1)], ("a", "ok", 1, Some(1))),
    ];
    for (name, arrivals, expected) in cases {
        let database = Database::migrated().await;
        let store = database.store();
        let application = application(&store).await;
        for (run, status, at) in arrivals {
            keep(&store, &check_in(application, run, *status, *at)).await;
        }
        let (run, status, at, last_ok) = kept(&database).await;
        assert_eq!((run.as_str(), status.as_str(), at, last_ok), expected, "{name}");
    }
}

#[tokio::test]
async fn every_status_is_stored_and_a_repeated_check_in_changes_nothing() {
    let database = Database::migrated().await;
    let store = database.store();
    let application = application(&store).await;
    for (at, status) in (1..).zip(CheckInStatus::ALL) {
        let run = format!("run {at}");
        assert!(keep(&store, &check_in(application, &run, status, at)).await, "{status:?}");
        assert!(!keep(&store, &check_in(application, &run, status, at)).await, "{status:?} again");
        assert_eq!(kept(&database).await.1, status.as_str());
    }
}

#[tokio::test]
async fn jobs_are_separate_by_environment_and_a_schedule_stays_until_replaced() {
    let database = Database::migrated().await;
    let store = database.store();
    let application = application(&store).await;
    let schedule = json!({"schedule": {"type": "crontab", "value": "0 3 * * *"}});
    let first = CheckIn { config: Some(schedule.clone()), ..check_in(application, "a", CheckInStatus::InProgress, 1) };
    keep(&store, &first).await;
    keep(&store, &CheckIn { duration_ms: Some(1_500), ..check_in(application, "a", CheckInStatus::Ok, 2) }).await;
    let kept: Value = database.value("SELECT config FROM check_ins WHERE duration_ms = 1500").await;
    assert_eq!(kept, schedule);
    keep(&store, &CheckIn { environment: "test".to_owned(), ..first.clone() }).await;
    keep(&store, &CheckIn { monitor_slug: "hourly".to_owned(), ..first }).await;
    assert_eq!(database.count("check_ins").await, 3);
}

#[tokio::test]
async fn hostile_values_are_cut_or_dropped_and_cause_no_error() {
    let database = Database::migrated().await;
    let store = database.store();
    let application = application(&store).await;
    let odd = "ü\0".repeat(500);
    let hostile = CheckIn {
        environment: odd.clone(),
        monitor_slug: odd.clone(),
        check_in_id: odd.clone(),
        duration_ms: Some(i64::MIN),
        config: Some(json!({"a\0": "b\0"})),
        ..check_in(application, "", CheckInStatus::Ok, 1)
    };
    assert!(keep(&store, &hostile).await);
    let large = CheckIn { config: Some(json!("x".repeat(10_000))), ..check_in(application, "a", CheckInStatus::Ok, 1) };
    assert!(keep(&store, &large).await);
    assert_eq!(database.count("check_ins WHERE config IS NULL").await, 1);
    assert!(!keep(&store, &CheckIn { monitor_slug: String::new(), ..large.clone() }).await);
    assert!(!keep(&store, &CheckIn { application: 999, ..large.clone() }).await, "no such application");
    assert!(!keep(&store, &CheckIn { application: i64::MIN, ..large }).await);
}

#[tokio::test]
async fn an_application_has_a_limited_number_of_jobs() {
    let database = Database::migrated().await;
    let store = database.store();
    let application = application(&store).await;
    database
        .execute(&format!(
            "INSERT INTO check_ins (application, environment, monitor_slug, check_in_id, status, received_at)
            SELECT {application}, 'production', 'job ' || n, '', 'ok', '2000-01-01' FROM generate_series(1, 1000) AS n"
        ))
        .await;
    let job =
        |slug: &str| CheckIn { monitor_slug: slug.to_owned(), ..check_in(application, "a", CheckInStatus::Ok, 1) };
    assert!(!keep(&store, &job("one more")).await);
    assert!(keep(&store, &job("job 7")).await, "known jobs are still stored");
}

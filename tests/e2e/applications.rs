//! The directory of applications on a real Postgres: quotas are exact within one process and bounded across several, and a
//! slow or unavailable database delays no event.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use harness::Database;
use harness::proxy::Proxy;
use shared::applications::{Admission, AdmissionRefusal, Directory, Quota};
use shared::config::DatabaseConfig;
use shared::dsn::KeyVersion;
use shared::model::{ApplicationName, Limits};
use shared::store::applications::{mark_removed, raise_key_version, upsert};
use shared::store::{PoolSize, Store};
use tokio::task::JoinSet;

const KEY: KeyVersion = KeyVersion::FIRST;

/// The beginning of every quota window: the times of these tests stay within it.
fn start() -> DateTime<Utc> {
    "2026-11-01T00:00:00Z".parse().unwrap()
}

/// Seconds after [`start`].
fn second(number: i64) -> DateTime<Utc> {
    start() + TimeDelta::seconds(number)
}

async fn application(store: &Store, limits: Limits) -> i64 {
    let (name, changes) = (&ApplicationName::parse("shop").unwrap(), &limits.into());
    let made = store.run(|client| async move { upsert(&client, name, None, changes, Utc::now()).await }).await.unwrap();
    made.0.application.number
}

fn burst(limit: i64) -> Limits {
    Limits { burst: Some(limit), ..Limits::default() }
}

/// A directory with a long time-out: tests check its decisions, not the speed of the machine.
fn patient(store: &Store) -> Directory {
    Directory::new(store.clone()).with_timeout(Duration::from_secs(20))
}

fn is_admitted(admission: &Admission) -> bool {
    matches!(admission, Admission::Admitted(Some(_)))
}

fn over_quota(scope: Quota, seconds: u64) -> Admission {
    Admission::Refused(AdmissionRefusal::OverQuota { scope, retry_after: Duration::from_secs(seconds) })
}

/// Accepted and refused events, by quota.
async fn counted(database: &Database) -> Vec<(String, i64, i64)> {
    let sql = "SELECT quota, accepted, refused FROM quota_counters ORDER BY quota";
    database.rows(sql, &[]).await.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn an_application_is_admitted_with_its_name_up_to_its_quota() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = application(&store, burst(5)).await;
    let directory = patient(&store);
    for _ in 0..5 {
        let admission = directory.admit(number, KEY, start()).await;
        assert!(matches!(&admission, Admission::Admitted(Some(it)) if it.name == "shop"), "{admission:?}");
    }
    assert_eq!(directory.admit(number, KEY, start()).await, over_quota(Quota::Burst, 300));
    assert!(is_admitted(&directory.admit(number, KEY, second(300)).await), "the next window");
    assert_eq!(directory.admit(999, KEY, start()).await, Admission::Refused(AdmissionRefusal::Unknown));
    directory.flush().await;
    let rows: Vec<(String, i64, i64)> = counted(&database).await;
    let expected = [("burst", 5, 1), ("burst", 1, 0), ("hour", 6, 1), ("month", 6, 1)];
    assert_eq!(rows, expected.map(|(quota, accepted, refused)| (quota.to_owned(), accepted, refused)));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_concurrent_events_are_admitted_exactly_up_to_the_quota_with_one_query() {
    let database = Database::migrated().await;
    let number = application(&database.store(), burst(5)).await;
    let proxy = Proxy::start(&database).await;
    let config = DatabaseConfig::at(proxy.url(&database).into());
    let directory = patient(&Store::new(&config, "test", PoolSize::LOCAL).unwrap());
    let mut events = JoinSet::new();
    for _ in 0..50 {
        let directory = directory.clone();
        events.spawn(async move { directory.admit(number, KEY, start()).await });
    }
    let admissions = events.join_all().await;
    assert_eq!(admissions.iter().filter(|it| is_admitted(it)).count(), 5, "{admissions:?}");
    assert_eq!(admissions.iter().filter(|it| **it == over_quota(Quota::Burst, 300)).count(), 45);
    assert_eq!(proxy.round_trips(), 1);
    assert_eq!(proxy.named_statements(), 0);
}

#[tokio::test]
async fn counts_survive_the_process_and_are_exact() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = application(&store, burst(5)).await;
    for count in [3, 2] {
        let directory = patient(&store);
        for _ in 0..count {
            assert!(is_admitted(&directory.admit(number, KEY, start()).await));
        }
        directory.flush().await;
    }
    assert_eq!(patient(&store).admit(number, KEY, start()).await, over_quota(Quota::Burst, 300));
}

#[tokio::test]
async fn within_a_call_counts_are_flushed_after_a_second_or_a_hundred_events() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = application(&store, Limits::default()).await;
    let directory = patient(&store);
    let written = async || {
        database
            .value::<i64>("SELECT coalesce(sum(accepted), 0)::bigint FROM quota_counters WHERE quota = 'month'")
            .await
    };
    for _ in 0..100 {
        directory.admit(number, KEY, start()).await;
    }
    assert_eq!(written().await, 0);
    directory.admit(number, KEY, start()).await;
    assert_eq!(written().await, 100, "a hundred; the event that flushed them is not counted yet");
    directory.admit(number, KEY, second(1)).await;
    assert_eq!(written().await, 101, "a second");
}

/// N processes exceed a quota by at most (N - 1) times what one admits between two flushes: 100 events, and those that
/// are being decided at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_exceed_a_quota_by_at_most_one_batch() {
    const LIMIT: i64 = 1_000;
    const CALLERS: usize = 8;
    let database = Database::migrated().await;
    let number = application(&database.store(), burst(LIMIT)).await;
    let mut callers = JoinSet::new();
    for _ in 0..2 {
        let directory = patient(&database.store());
        for _ in 0..CALLERS {
            let directory = directory.clone();
            callers.spawn(async move {
                let mut admitted = 0_i64;
                for _ in 0..LIMIT {
                    admitted += i64::from(is_admitted(&directory.admit(number, KEY, start()).await));
                }
                admitted
            });
        }
    }
    let admitted: i64 = callers.join_all().await.into_iter().sum();
    let window = 100 + i64::try_from(CALLERS).unwrap();
    assert!((LIMIT..=LIMIT + 2 * window).contains(&admitted), "{admitted} of {LIMIT}");
}

#[tokio::test]
async fn a_rotated_key_and_a_removed_application_are_refused_within_ten_seconds() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = application(&store, Limits::default()).await;
    let directory = patient(&store);
    assert!(is_admitted(&directory.admit(number, KEY, start()).await));
    let new = KeyVersion(2);
    store.run(|client| async move { raise_key_version(&client, number, new, start()).await }).await.unwrap();
    assert!(is_admitted(&directory.admit(number, new, second(1)).await), "the new key is valid at once");
    assert_eq!(directory.admit(number, KEY, second(1)).await, Admission::Refused(AdmissionRefusal::Revoked));
    store.run(|client| async move { mark_removed(&client, number, start()).await }).await.unwrap();
    assert_eq!(directory.admit(number, new, second(11)).await, Admission::Refused(AdmissionRefusal::Revoked));
}

#[tokio::test]
async fn a_new_application_is_admitted_ten_seconds_after_it_was_unknown() {
    let database = Database::migrated().await;
    let store = database.store();
    let directory = patient(&store);
    assert_eq!(directory.admit(1, KEY, start()).await, Admission::Refused(AdmissionRefusal::Unknown));
    assert_eq!(application(&store, Limits::default()).await, 1);
    assert!(is_admitted(&directory.admit(1, KEY, second(10)).await));
}

#[tokio::test]
async fn without_a_database_events_are_admitted_at_once() {
    let nowhere = DatabaseConfig::at("postgresql://u:p@127.0.0.1:9/none?sslmode=disable".into());
    let directory = Directory::new(Store::new(&nowhere, "test", PoolSize::LAMBDA).unwrap());
    for _ in 0..1_000 {
        assert_eq!(directory.admit(7, KEY, start()).await, Admission::Admitted(None));
    }
    directory.flush().await;
}

#[tokio::test]
async fn a_database_that_hangs_delays_no_event_and_cached_quotas_stay_in_force() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = application(&store, burst(3)).await;
    let directory = Directory::new(store.clone()).with_timeout(Duration::from_secs(1));
    assert!(is_admitted(&directory.admit(number, KEY, start()).await));
    let other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE applications, quota_counters IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert!(is_admitted(&directory.admit(number, KEY, second(20)).await), "as it was read 20 s ago");
    assert!(is_admitted(&directory.admit(number, KEY, second(20)).await));
    assert_eq!(directory.admit(number, KEY, second(20)).await, over_quota(Quota::Burst, 280));
    assert_eq!(directory.admit(number, KeyVersion(0), second(20)).await, Admission::Refused(AdmissionRefusal::Revoked));
    other.batch_execute("COMMIT").await.unwrap();
    while counted(&database).await.is_empty() || counted(&database).await[0].1 < 3 {
        directory.flush().await;
    }
    assert_eq!(counted(&database).await[0], ("burst".to_owned(), 3, 1), "counted once");
}

#[tokio::test]
async fn counts_whose_answer_was_lost_are_counted_once() {
    let database = Database::migrated().await;
    let number = application(&database.store(), Limits::default()).await;
    let proxy = Proxy::start(&database).await;
    let config = DatabaseConfig::at(proxy.url(&database).into());
    let directory = patient(&Store::new(&config, "test", PoolSize::LAMBDA).unwrap());
    for _ in 0..7 {
        directory.admit(number, KEY, start()).await;
    }
    proxy.lose_next_answer();
    directory.flush().await;
    assert_eq!(proxy.answers_lost(), 1);
    assert!(counted(&database).await.iter().all(|(_, accepted, _)| *accepted == 7));
}

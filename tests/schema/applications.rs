//! `applications` and `quota_counters`: created once, rotated and removed permanently, counted in batches.

use chrono::{DateTime, Duration, Utc};
use harness::Database;
use shared::dsn::KeyVersion;
use shared::model::{ApplicationChanges, ApplicationName, Limits, Quota};
use shared::store::Store;
use shared::store::applications::{
    StoredApplication, Usage, find_usage, list_by_numbers, list_usage, mark_removed, raise_key_version, upsert,
};
use shared::store::quotas::{Counted, Window, add};
use tokio::task::JoinSet;
use uuid::Uuid;

/// An arbitrary instant.
fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn name(text: &str) -> ApplicationName {
    ApplicationName::parse(text).unwrap()
}

async fn make(store: &Store, text: &str, environment: Option<&str>, limits: Limits) -> (StoredApplication, bool) {
    let (name, environment, changes) = (&name(text), environment.map(name), &ApplicationChanges::from(limits));
    // Each with a creation time of its own.
    let now = Utc::now();
    store
        .run(|client| {
            let environment = environment.clone();
            async move { upsert(&client, name, environment.as_ref(), changes, now).await }
        })
        .await
        .unwrap()
}

async fn usage(store: &Store, number: i64, now: DateTime<Utc>) -> Option<Usage> {
    store.run(|client| async move { find_usage(&client, number, now).await }).await.unwrap()
}

fn window(application: i64, quota: Quota) -> Window {
    Window { application, quota, start: quota.window_start(noon()) }
}

fn accepted(count: i64) -> Counted {
    Counted { accepted: count, refused: 1 }
}

async fn count(store: &Store, batch: Uuid, counts: &[(Window, Counted)]) -> Vec<(Window, i64)> {
    store.run(|client| async move { add(&client, batch, counts).await }).await.unwrap()
}

#[tokio::test]
async fn an_application_is_created_once_for_each_environment_and_for_none() {
    let database = Database::migrated().await;
    let store = database.store();
    let (first, created) = make(&store, "shop", None, Limits::default()).await;
    assert!(created && first.key_version == KeyVersion::FIRST && !first.removed);
    assert_eq!((first.application.name.as_str(), &first.application.environment), ("shop", &None));
    let (test, created) = make(&store, "shop", Some("test"), Limits::default()).await;
    assert!(created && test.application.number != first.application.number);
    for (environment, known) in [(None, &first), (Some("test"), &test)] {
        let (again, created) = make(&store, "shop", environment, Limits::default()).await;
        assert_eq!((&again, created), (known, false));
    }
    assert_eq!(database.count("applications").await, 2);
}

#[tokio::test]
async fn adding_again_changes_only_the_named_quotas() {
    let database = Database::migrated().await;
    let store = database.store();
    let limits = Limits { burst: Some(5), hour: Some(10), month: None };
    make(&store, "shop", None, limits).await;
    let (again, _) = make(&store, "shop", None, Limits { hour: Some(20), ..Limits::default() }).await;
    assert_eq!(again.limits, Limits { burst: Some(5), hour: Some(20), month: None });
}

#[tokio::test]
async fn concurrent_creations_of_one_application_return_the_same() {
    let database = Database::migrated().await;
    let mut made = JoinSet::new();
    for _ in 0..20 {
        let store = database.store();
        made.spawn(async move { make(&store, "shop", None, Limits::default()).await.0.application.number });
    }
    let numbers = made.join_all().await;
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
}

#[tokio::test]
async fn a_removed_application_keeps_its_number_and_frees_its_name() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = make(&store, "shop", None, Limits::default()).await.0.application.number;
    store.run(|client| async move { mark_removed(&client, number, noon()).await }).await.unwrap();
    store.run(|client| async move { mark_removed(&client, number, Utc::now()).await }).await.unwrap();
    let removed_at: DateTime<Utc> = database.value("SELECT removed_at FROM applications").await;
    assert_eq!(removed_at, noon(), "removing again changes nothing");
    assert!(usage(&store, number, noon()).await.unwrap().stored.removed);
    let (new, created) = make(&store, "shop", None, Limits::default()).await;
    assert!(created && new.application.number != number);
    let listed = store.run(|client| async move { list_usage(&client, None, noon()).await }).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.stored.application.number).collect::<Vec<_>>(), [new.application.number]);
    // Its reports may still be deferred.
    let numbers = [number, 999];
    let found = store.run(|client| async move { list_by_numbers(&client, &numbers).await }).await.unwrap();
    assert_eq!(found.iter().map(|it| (it.number, it.name.as_str())).collect::<Vec<_>>(), [(number, "shop")]);
}

#[tokio::test]
async fn a_key_version_only_increases_and_only_for_existing_applications() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = make(&store, "shop", None, Limits::default()).await.0.application.number;
    for (given, expected) in [(3, 3), (3, 3), (2, 3), (u16::MAX, u16::MAX)] {
        let version = KeyVersion(given);
        let raised = store.run(|client| async move { raise_key_version(&client, number, version, noon()).await }).await;
        assert_eq!(raised.unwrap().unwrap().key_version, KeyVersion(expected));
    }
    store.run(|client| async move { mark_removed(&client, number, noon()).await }).await.unwrap();
    for number in [number, 999] {
        let version = KeyVersion(4);
        let raised = store.run(|client| async move { raise_key_version(&client, number, version, noon()).await }).await;
        assert_eq!(raised.unwrap(), None);
    }
}

#[tokio::test]
async fn counts_add_up_by_window_and_are_returned() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = make(&store, "shop", None, Limits::default()).await.0.application.number;
    assert_eq!(usage(&store, number, noon()).await.unwrap().accepted, [0, 0, 0]);
    assert_eq!(usage(&store, 999, noon()).await, None);
    let counts = Quota::ALL.map(|quota| (window(number, quota), accepted(5)));
    for total in [5, 10] {
        let totals = count(&store, Uuid::new_v4(), &counts).await;
        assert_eq!(totals.len(), 3);
        assert!(totals.iter().all(|(_, found)| *found == total), "{totals:?}");
    }
    let found = usage(&store, number, noon()).await.unwrap();
    assert_eq!((found.accepted, found.refused_in_month), ([10, 10, 10], 2));
    let later = usage(&store, number, noon() + Duration::minutes(5)).await.unwrap();
    assert_eq!(later.accepted, [0, 10, 10], "another burst's window");
}

#[tokio::test]
async fn a_batch_of_counts_is_idempotent() {
    let database = Database::migrated().await;
    let store = database.store();
    let number = make(&store, "shop", None, Limits::default()).await.0.application.number;
    let counts = [(window(number, Quota::Burst), accepted(5))];
    let batch = Uuid::new_v4();
    for _ in 0..3 {
        assert_eq!(count(&store, batch, &counts).await, [(counts[0].0, 5)]);
    }
    assert_eq!(database.value::<i64>("SELECT refused FROM quota_counters").await, 1);
}

#[tokio::test]
async fn counts_of_an_unknown_application_are_not_stored() {
    let database = Database::migrated().await;
    let totals = count(&database.store(), Uuid::new_v4(), &[(window(999, Quota::Hour), accepted(5))]).await;
    assert_eq!((totals, database.count("quota_counters").await), (Vec::new(), 0));
}

#[tokio::test]
async fn concurrent_writers_lose_no_count_and_never_deadlock() {
    let database = Database::migrated().await;
    let store = database.store();
    let mut numbers = Vec::new();
    for text in ["a", "b", "c"] {
        numbers.push(make(&store, text, None, Limits::default()).await.0.application.number);
    }
    let mut writers = JoinSet::new();
    for writer in 0..8_usize {
        let store = store.clone();
        let mut counts: Vec<_> =
            numbers.iter().flat_map(|number| Quota::ALL.map(|quota| (window(*number, quota), accepted(1)))).collect();
        counts.rotate_left(writer);
        writers.spawn(async move {
            for _ in 0..20 {
                count(&store, Uuid::new_v4(), &counts).await;
            }
        });
    }
    writers.join_all().await;
    for number in numbers {
        assert_eq!(usage(&store, number, noon()).await.unwrap().accepted, [160, 160, 160]);
    }
}

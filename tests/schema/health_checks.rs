//! The required operations on `service_health_checks`: create, latest, list, delete.

use chrono::{DateTime, Duration, Utc};
use harness::Database;
use shared::model::ServiceState;
use shared::store::health_checks::{
    DEFAULT_LIMIT, HealthCheck, NewHealthCheck, NewHealthCheckError, delete_older_than, find_latest, insert, list,
};
use shared::store::{Store, StoreError};
use uuid::Uuid;

/// Minutes after an arbitrary instant.
fn minute(number: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(number)
}

fn check(service_name: &str, minutes: i64) -> NewHealthCheck<'_> {
    NewHealthCheck {
        service_name,
        status: ServiceState::Healthy,
        latency_ms: Some(12),
        error_message: None,
        checked_at: minute(minutes),
    }
}

async fn create(store: &Store, check: &NewHealthCheck<'_>) -> Result<Uuid, NewHealthCheckError> {
    store.run(|client| async move { Ok(insert(&client, check).await) }).await.unwrap()
}

async fn latest(store: &Store, service_name: &str) -> Option<HealthCheck> {
    store.run(|client| async move { find_latest(&client, service_name).await }).await.unwrap()
}

async fn listed(store: &Store, service_name: Option<&str>, limit: u16) -> Vec<Uuid> {
    let checks = store.run(|client| async move { list(&client, service_name, limit).await }).await.unwrap();
    checks.into_iter().map(|check| check.id).collect()
}

async fn deleted(store: &Store, days: u16, now: DateTime<Utc>) -> u64 {
    store.run(|client| async move { delete_older_than(&client, days, now).await }).await.unwrap()
}

#[tokio::test]
async fn a_stored_check_reads_back_unchanged() {
    let database = Database::migrated().await;
    let store = database.store();
    for status in [ServiceState::Healthy, ServiceState::Degraded, ServiceState::Down] {
        let new = NewHealthCheck {
            service_name: status.as_str(),
            status,
            latency_ms: None,
            error_message: Some("connection refused"),
            checked_at: minute(1),
        };
        let id = create(&store, &new).await.unwrap();
        let expected = HealthCheck {
            id,
            service_name: status.as_str().to_owned(),
            environment: "production".to_owned(),
            status,
            latency_ms: None,
            checked_at: minute(1),
            error_message: Some("connection refused".to_owned()),
        };
        assert_eq!(latest(&store, status.as_str()).await, Some(expected));
    }
}

#[tokio::test]
async fn a_check_without_a_service_is_refused() {
    let database = Database::migrated().await;
    for name in ["", "  "] {
        let error = create(&database.store(), &check(name, 0)).await.unwrap_err();
        assert!(matches!(error, NewHealthCheckError::NoServiceName), "{error:?}");
        assert_eq!(error.to_string(), "service_name must not be empty");
    }
    assert_eq!(database.count("service_health_checks").await, 0);
}

#[tokio::test]
async fn a_check_without_a_result_is_refused() {
    let database = Database::migrated().await;
    let unknown = NewHealthCheck { status: ServiceState::Unknown, ..check("shop", 0) };
    let error = create(&database.store(), &unknown).await.unwrap_err();
    assert!(matches!(error, NewHealthCheckError::NoResult), "{error:?}");
    assert_eq!(error.to_string(), "status must be healthy, degraded or down");
    assert_eq!(database.count("service_health_checks").await, 0);
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused_and_not_cut() {
    let database = Database::migrated().await;
    let error = create(&database.store(), &check(&"n".repeat(101), 0)).await.unwrap_err();
    assert!(matches!(error, NewHealthCheckError::Store(StoreError::Data(_))), "{error:?}");
    create(&database.store(), &check(&"ü".repeat(100), 0)).await.unwrap();
}

#[tokio::test]
async fn the_latest_check_is_the_one_that_ran_last() {
    let database = Database::migrated().await;
    let store = database.store();
    assert_eq!(latest(&store, "shop").await, None);
    create(&store, &check("shop", 1)).await.unwrap();
    let newest = create(&store, &check("shop", 3)).await.unwrap();
    create(&store, &check("shop", 2)).await.unwrap();
    create(&store, &check("admin", 9)).await.unwrap();
    assert_eq!(latest(&store, "shop").await.unwrap().id, newest);
    assert_eq!(latest(&store, "Shop").await, None);
}

#[tokio::test]
async fn a_list_is_newest_first_by_service_or_all() {
    let database = Database::migrated().await;
    let store = database.store();
    assert_eq!(listed(&store, None, DEFAULT_LIMIT).await, Vec::<Uuid>::new());
    let second = create(&store, &check("shop", 2)).await.unwrap();
    let fourth = create(&store, &check("shop", 4)).await.unwrap();
    let first = create(&store, &check("admin", 1)).await.unwrap();
    let third = create(&store, &check("admin", 3)).await.unwrap();
    assert_eq!(listed(&store, None, DEFAULT_LIMIT).await, [fourth, third, second, first]);
    assert_eq!(listed(&store, Some("shop"), DEFAULT_LIMIT).await, [fourth, second]);
    assert_eq!(listed(&store, Some("shop"), 1).await, [fourth]);
    assert_eq!(listed(&store, None, 0).await, Vec::<Uuid>::new());
    assert_eq!(listed(&store, Some("unknown"), DEFAULT_LIMIT).await, Vec::<Uuid>::new());
}

#[tokio::test]
async fn a_list_has_a_hundred_entries_by_default() {
    assert_eq!(DEFAULT_LIMIT, 100);
    let database = Database::migrated().await;
    database
        .execute(
            "INSERT INTO service_health_checks (service_name, status)
            SELECT 'shop', 'healthy' FROM generate_series(1, 101)",
        )
        .await;
    assert_eq!(listed(&database.store(), None, DEFAULT_LIMIT).await.len(), 100);
    assert_eq!(listed(&database.store(), None, u16::MAX).await.len(), 101);
}

#[tokio::test]
async fn checks_older_than_the_retention_are_deleted_and_counted() {
    let database = Database::migrated().await;
    let store = database.store();
    let now = minute(0);
    for age in
        [Duration::zero(), Duration::days(30), Duration::days(30) + Duration::microseconds(1), Duration::days(99)]
    {
        create(&store, &NewHealthCheck { checked_at: now - age, ..check("shop", 0) }).await.unwrap();
    }
    // Exactly 30 days old is not older than 30 days.
    assert_eq!(deleted(&store, 30, now).await, 2);
    assert_eq!(deleted(&store, 30, now).await, 0);
    assert_eq!(listed(&store, None, DEFAULT_LIMIT).await.len(), 2);
    assert_eq!(deleted(&store, 0, now).await, 1);
    assert_eq!(deleted(&store, u16::MAX, now).await, 0);
}

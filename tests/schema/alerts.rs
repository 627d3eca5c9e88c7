//! The required operations on `alert_events`: create, list, acknowledge, resolve, find a recent one, delete.

use chrono::{DateTime, Duration, Utc};
use harness::Database;
use shared::model::{Alert, AlertStatus, AlertType, DeliveryKey, Subject};
use shared::store::Store;
use shared::store::alerts::{NewAlert, delete_older_than, find, find_recent, insert, list_active};
use shared::store::lifecycle::Agent;
use shared::store::reactions::{Action, Reacted, Reaction, react};
use uuid::Uuid;

/// Minutes after an arbitrary instant.
fn minute(number: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(number)
}

fn down(service_name: &str) -> NewAlert<'_> {
    NewAlert {
        service_name,
        environment: "production",
        alert_type: AlertType::ServiceDown,
        status: None,
        message: Some("it does not answer"),
    }
}

async fn create(store: &Store, alert: &NewAlert<'_>, now: DateTime<Utc>) -> Option<Alert> {
    store.run(|client| async move { insert(&client, alert, now).await }).await.unwrap()
}

async fn active(store: &Store, service_name: Option<&str>) -> Vec<Uuid> {
    let alerts = store.run(|client| async move { list_active(&client, service_name).await }).await.unwrap();
    alerts.into_iter().map(|alert| alert.id).collect()
}

async fn acknowledge(store: &Store, id: Uuid, now: DateTime<Utc>) -> Option<Alert> {
    change(store, id, Action::Acknowledge, now).await
}

async fn resolve(store: &Store, id: Uuid, now: DateTime<Utc>) -> Option<Alert> {
    change(store, id, Action::Resolve, now).await
}

/// The alert, if that changed it.
async fn change(store: &Store, id: Uuid, action: Action, now: DateTime<Utc>) -> Option<Alert> {
    let reaction = &Reaction {
        delivery_key: DeliveryKey::unique("test", now),
        action,
        by: "ann".to_owned(),
        comment: None,
        agent: Agent::new("test", "operator"),
        at: now,
        done_at: None,
    };
    let reacted = store.run(|client| async move { react(&client, &Subject::Alert(id), reaction).await }).await.unwrap();
    let Reacted::Done(Some(_)) = reacted else { return None };
    store.run(|client| async move { find(&client, id).await }).await.unwrap()
}

async fn recent(store: &Store, service_name: &str, minutes: i64, now: DateTime<Utc>) -> Option<Uuid> {
    let within = Duration::minutes(minutes);
    store
        .run(|client| async move { find_recent(&client, service_name, AlertType::ServiceDown, within, now).await })
        .await
        .unwrap()
        .map(|alert| alert.id)
}

async fn deleted(store: &Store, days: u16, now: DateTime<Utc>) -> u64 {
    store.run(|client| async move { delete_older_than(&client, days, now).await }).await.unwrap()
}

#[tokio::test]
async fn an_alert_is_active_unless_another_status_is_given() {
    let database = Database::migrated().await;
    let store = database.store();
    let alert = create(&store, &down("shop"), minute(1)).await.unwrap();
    assert_eq!((alert.service_name.as_str(), alert.environment.as_str()), ("shop", "production"));
    assert_eq!((alert.alert_type, alert.status), (AlertType::ServiceDown, AlertStatus::Active));
    assert_eq!((alert.message.as_deref(), alert.created_at), (Some("it does not answer"), minute(1)));
    assert_eq!((alert.acknowledged_at, alert.resolved_at, alert.details), (None, None, None));
    for (service_name, status) in [("admin", AlertStatus::Acknowledged), ("mail", AlertStatus::Resolved)] {
        let given = NewAlert { status: Some(status), message: None, ..down(service_name) };
        let alert = create(&store, &given, minute(1)).await.unwrap();
        assert_eq!((alert.status, alert.message), (status, None));
    }
}

#[tokio::test]
async fn every_type_of_alert_is_stored_and_read() {
    let database = Database::migrated().await;
    for alert_type in AlertType::ALL {
        let alert = create(&database.store(), &NewAlert { alert_type, ..down("shop") }, minute(1)).await.unwrap();
        assert_eq!(alert.alert_type, alert_type);
    }
    assert_eq!(active(&database.store(), Some("shop")).await.len(), 4);
}

#[tokio::test]
async fn a_second_alert_of_a_type_is_stored_only_after_the_first_is_resolved() {
    let database = Database::migrated().await;
    let store = database.store();
    let first = create(&store, &down("shop"), minute(1)).await.unwrap();
    assert!(create(&store, &down("shop"), minute(2)).await.is_none());
    acknowledge(&store, first.id, minute(3)).await.unwrap();
    assert!(create(&store, &down("shop"), minute(4)).await.is_none());
    assert!(create(&store, &NewAlert { environment: "staging", ..down("shop") }, minute(4)).await.is_some());
    let degraded = NewAlert { alert_type: AlertType::ServiceDegraded, ..down("shop") };
    assert!(create(&store, &degraded, minute(4)).await.is_some());
    // An alert that is stored as resolved conflicts with none.
    let over = NewAlert { status: Some(AlertStatus::Resolved), ..down("shop") };
    assert!(create(&store, &over, minute(4)).await.is_some());
    resolve(&store, first.id, minute(5)).await.unwrap();
    assert!(create(&store, &down("shop"), minute(6)).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_concurrent_creations_of_one_alert_one_succeeds() {
    let database = Database::migrated().await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = database.store();
        writers.spawn(async move { create(&store, &down("shop"), minute(1)).await.is_some() });
    }
    let stored = writers.join_all().await;
    assert_eq!(stored.into_iter().filter(|stored| *stored).count(), 1);
    assert_eq!(database.count("alert_events").await, 1);
}

#[tokio::test]
async fn active_alerts_are_listed_newest_first_by_service_or_all() {
    let database = Database::migrated().await;
    let store = database.store();
    assert_eq!(active(&store, None).await, Vec::<Uuid>::new());
    let second = create(&store, &down("shop"), minute(2)).await.unwrap().id;
    let first = create(&store, &down("admin"), minute(1)).await.unwrap().id;
    let staging = NewAlert { environment: "staging", ..down("shop") };
    let third = create(&store, &staging, minute(3)).await.unwrap().id;
    let taken = create(&store, &down("mail"), minute(4)).await.unwrap().id;
    let over = create(&store, &down("search"), minute(5)).await.unwrap().id;
    acknowledge(&store, taken, minute(6)).await.unwrap();
    resolve(&store, over, minute(6)).await.unwrap();
    assert_eq!(active(&store, None).await, [third, second, first]);
    assert_eq!(active(&store, Some("shop")).await, [third, second]);
    assert_eq!(active(&store, Some("mail")).await, Vec::<Uuid>::new());
    assert_eq!(active(&store, Some("unknown")).await, Vec::<Uuid>::new());
}

#[tokio::test]
async fn an_alert_is_acknowledged_once_and_only_while_it_is_active() {
    let database = Database::migrated().await;
    let store = database.store();
    let id = create(&store, &down("shop"), minute(1)).await.unwrap().id;
    let alert = acknowledge(&store, id, minute(2)).await.unwrap();
    assert_eq!((alert.id, alert.status), (id, AlertStatus::Acknowledged));
    assert_eq!((alert.acknowledged_at, alert.resolved_at), (Some(minute(2)), None));
    assert!(acknowledge(&store, id, minute(3)).await.is_none());
    let alert = resolve(&store, id, minute(4)).await.unwrap();
    assert_eq!((alert.status, alert.acknowledged_at), (AlertStatus::Resolved, Some(minute(2))));
    assert!(acknowledge(&store, id, minute(5)).await.is_none());
    assert!(acknowledge(&store, Uuid::nil(), minute(5)).await.is_none());
}

#[tokio::test]
async fn an_alert_is_resolved_once_whether_acknowledged_or_not() {
    let database = Database::migrated().await;
    let store = database.store();
    let id = create(&store, &down("shop"), minute(1)).await.unwrap().id;
    let alert = resolve(&store, id, minute(2)).await.unwrap();
    assert_eq!((alert.id, alert.status), (id, AlertStatus::Resolved));
    assert_eq!((alert.acknowledged_at, alert.resolved_at), (None, Some(minute(2))));
    assert!(resolve(&store, id, minute(3)).await.is_none());
    assert!(resolve(&store, Uuid::nil(), minute(3)).await.is_none());
    let resolved_at: DateTime<Utc> = database.value("SELECT resolved_at FROM alert_events").await;
    assert_eq!(resolved_at, minute(2));
}

#[tokio::test]
async fn a_recent_alert_is_the_newest_of_its_service_and_type_within_the_window() {
    let database = Database::migrated().await;
    let store = database.store();
    assert_eq!(recent(&store, "shop", 30, minute(40)).await, None);
    let first = create(&store, &down("shop"), minute(10)).await.unwrap().id;
    // Resolved or not: the time of the alert counts.
    resolve(&store, first, minute(11)).await.unwrap();
    assert_eq!(recent(&store, "shop", 30, minute(39)).await, Some(first));
    assert_eq!(recent(&store, "shop", 30, minute(40)).await, Some(first));
    assert_eq!(recent(&store, "shop", 30, minute(40) + Duration::microseconds(1)).await, None);
    let second = create(&store, &down("shop"), minute(20)).await.unwrap().id;
    assert_eq!(recent(&store, "shop", 30, minute(40)).await, Some(second));
    assert_eq!(recent(&store, "admin", 30, minute(40)).await, None);
    let degraded = NewAlert { alert_type: AlertType::ServiceDegraded, ..down("mail") };
    create(&store, &degraded, minute(40)).await.unwrap();
    assert_eq!(recent(&store, "mail", 30, minute(40)).await, None);
}

#[tokio::test]
async fn resolved_alerts_older_than_the_retention_are_deleted_and_counted() {
    let database = Database::migrated().await;
    let store = database.store();
    let now = minute(0);
    let over = NewAlert { status: Some(AlertStatus::Resolved), ..down("shop") };
    let exactly = now - Duration::days(90);
    for created_at in [now, exactly, exactly - Duration::microseconds(1), now - Duration::days(200)] {
        create(&store, &over, created_at).await.unwrap();
    }
    // An unresolved alert is kept, however old.
    create(&store, &down("admin"), now - Duration::days(200)).await.unwrap();
    let taken = NewAlert { status: Some(AlertStatus::Acknowledged), ..down("mail") };
    create(&store, &taken, now - Duration::days(200)).await.unwrap();
    assert_eq!(deleted(&store, 90, now).await, 2);
    assert_eq!(deleted(&store, 90, now).await, 0);
    assert_eq!(database.count("alert_events WHERE status = 'resolved'").await, 2);
    assert_eq!(database.count("alert_events").await, 4);
    assert_eq!(deleted(&store, 0, now).await, 1);
}

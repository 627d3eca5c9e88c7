//! Each change is notified once, and only what is true.

use serde_json::json;

use super::inbox::Inbox;
use super::{Notifier, app, batch, event, failures, of_incident, webhook};

#[tokio::test]
async fn an_incident_is_one_notification_and_its_end_another() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing resolved");
    let got = inbox.got();
    assert_eq!(got[0].dedup_key(), got[1].dedup_key());
    assert_ne!(got[0].id, got[1].id);
    assert_eq!(
        (got[0].title(), got[1].body["data"]["problems"][0]["handled_by"].as_str()),
        ("It broke: INC-1", Some("ana"))
    );
}

#[tokio::test]
async fn a_hundred_concurrent_equal_events_are_one_notification() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.incident("INC-1", "HIGH").await;
    let event = of_incident("IncidentOpened", "INC-1");
    let handled: Vec<_> = (0..100)
        .map(|_| {
            let (app, batch) = (notifier.app.clone(), batch(std::slice::from_ref(&event)));
            tokio::spawn(async move { notify::handle(&app, batch).await })
        })
        .collect();
    for handled in handled {
        assert_eq!(failures(&handled.await.unwrap()), [] as [&str; 0]);
    }
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!(notifier.messages().await, ["sent firing webhook"]);
}

#[tokio::test]
async fn two_concurrent_runs_notify_nothing_twice() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    let other = app(&notifier.database, &webhook(&inbox));
    let mut events = Vec::new();
    for nth in 0..40 {
        let id = format!("INC-{nth}");
        notifier.incident(&id, "HIGH").await;
        events.push(of_incident("IncidentOpened", &id));
    }
    let (one, two) = tokio::join!(
        notify::handle(&notifier.app, batch(&events)),
        notify::handle(&other, batch(&events.iter().rev().cloned().collect::<Vec<_>>()))
    );
    assert_eq!((failures(&one), failures(&two)), (Vec::new(), Vec::new()));
    let (one, two) =
        tokio::join!(notify::sweep(&notifier.app, chrono::Utc::now()), notify::sweep(&other, chrono::Utc::now()));
    one.unwrap();
    two.unwrap();
    let mut ids: Vec<_> = inbox.got().into_iter().map(|got| got.id).collect();
    assert_eq!(ids.len(), 40);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
}

#[tokio::test]
async fn events_out_of_order_notify_nothing_wrong() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    // It was resolved before it was evaluated: neither event is notified.
    notifier.incident("INC-1", "HIGH").await;
    let opened = of_incident("IncidentOpened", "INC-1");
    notifier.resolve("INC-1").await;
    notifier.receive(&[opened]).await;
    assert_eq!(inbox.kinds(), "");
    // Acknowledged before it was notified: it is notified, with the assignee.
    notifier.incident("INC-2", "HIGH").await;
    notifier.acknowledge("INC-2").await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-2")]).await;
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!(inbox.got()[0].body["data"]["problems"][0]["state"], "acknowledged");
}

#[tokio::test]
async fn a_reopened_incident_is_notified_again() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.acknowledge("INC-1").await;
    notifier.resolve("INC-1").await;
    notifier.reopen("INC-1").await;
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing acknowledged resolved firing resolved");
    assert_eq!(notifier.database.count("notification_members").await, 0);
}

#[tokio::test]
async fn a_failed_check_is_notified_once_when_its_alert_is_announced() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.incident("INC-1", "HIGH").await;
    notifier.set("INC-1", "error_type = 'health_check_failure', environment = 'staging'").await;
    notifier
        .database
        .execute(
            "INSERT INTO alert_events (service_name, environment, alert_type, status, message, incident_id, announce_at)
            SELECT 'api', 'staging', 'service_down', 'active', 'down', id, now() + interval '30 seconds' FROM incidents",
        )
        .await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-1")]).await;
    assert_eq!(inbox.kinds(), "");
    notifier.database.execute("UPDATE alert_events SET announced_at = now()").await;
    let alert: uuid::Uuid = notifier.database.value("SELECT id FROM alert_events").await;
    let raised = event("AlertRaised", json!({"alert_id": alert, "incident_id": "INC-1"}));
    notifier.receive(&[raised, of_incident("IncidentOpened", "INC-1")]).await;
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!(inbox.got()[0].body["data"]["problems"][0]["service"], "api");
    // The ends of the alert and of the incident are one notification.
    notifier.database.execute("UPDATE alert_events SET status = 'resolved', resolved_at = now()").await;
    notifier.set("INC-1", "status = 'resolved', resolved_at = now()").await;
    let over = event("AlertResolved", json!({"alert_id": alert}));
    notifier.receive(&[over, of_incident("IncidentResolved", "INC-1")]).await;
    assert_eq!(inbox.kinds(), "firing resolved");
}

#[tokio::test]
async fn an_alert_without_an_incident_is_notified_too() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    let alert: uuid::Uuid = notifier
        .database
        .value(
            "INSERT INTO alert_events (service_name, alert_type, status, message)
            VALUES ('api', 'certificate_expiring', 'active', 'The certificate of api ends in 9 days') RETURNING id",
        )
        .await;
    notifier.receive(&[event("AlertRaised", json!({"alert_id": alert}))]).await;
    notifier.database.execute("UPDATE alert_events SET status = 'acknowledged', acknowledged_at = now()").await;
    notifier.receive(&[event("AlertAcknowledged", json!({"alert_id": alert}))]).await;
    notifier.database.execute("UPDATE alert_events SET status = 'resolved', resolved_at = now()").await;
    notifier.receive(&[event("AlertResolved", json!({"alert_id": alert}))]).await;
    assert_eq!(inbox.kinds(), "firing acknowledged resolved");
    assert_eq!(inbox.got()[0].body["data"]["problems"][0]["severity"], "LOW");
}

#[tokio::test]
async fn an_unreadable_event_is_dropped_and_without_a_database_events_are_retried() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.incident("INC-1", "HIGH").await;
    let events = [json!("no event"), event("PatternFound", json!({})), of_incident("IncidentOpened", "INC-1")];
    let unavailable = shared::config::DatabaseConfig::at(secrecy::SecretString::from("postgres://x@127.0.0.1:1/x"));
    let store = shared::store::Store::new(&unavailable, "test", shared::store::PoolSize::LAMBDA).unwrap();
    let blind = notify::App::new(store, notify::app::NotifyConfig::default()).unwrap();
    assert_eq!(failures(&notify::handle(&blind, batch(&events)).await), ["2"]);
    assert_eq!(failures(&notify::handle(&notifier.app, batch(&events)).await), [] as [&str; 0]);
    assert_eq!(inbox.kinds(), "firing");
}

#[tokio::test]
async fn a_redelivered_event_notifies_the_current_state() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.incident("INC-1", "HIGH").await;
    let opened = of_incident("IncidentOpened", "INC-1");
    notifier.receive(std::slice::from_ref(&opened)).await;
    notifier.set("INC-1", "status = 'acknowledged', handled_by = 'ana'").await;
    notifier.receive(&[opened.clone(), of_incident("IncidentAcknowledged", "INC-1")]).await;
    assert_eq!(inbox.kinds(), "firing acknowledged");
    notifier.set("INC-1", "status = 'resolved', resolved_at = now()").await;
    notifier.receive(std::slice::from_ref(&opened)).await;
    notifier.receive(&[opened, of_incident("IncidentResolved", "INC-1")]).await;
    assert_eq!(inbox.kinds(), "firing acknowledged resolved");
}

//! PagerDuty: an incident there stays open until we resolve it, and pages no one once it is acknowledged.

use chrono::Utc;
use serde_json::{Value, json};

use super::escalations::healed;
use super::inbox::Inbox;
use super::mutes::silence;
use super::who::pagerduty;
use super::{Notifier, webhook};

/// The requested actions, in order.
fn actions(inbox: &Inbox) -> String {
    let got = inbox.got();
    let actions = got.iter().filter_map(|got| got.body["event_action"].as_str());
    actions.collect::<Vec<_>>().join(" ")
}

async fn grouped(inbox: &Inbox, more: Value) -> Notifier {
    let notifier = Notifier::with(&pagerduty(inbox)).await;
    let mut route =
        json!({"name": "all", "channels": ["pagerduty"], "group_by": ["application"], "group_interval_seconds": 0});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    notifier.route(json!({"routes": [route]})).await;
    notifier
}

#[tokio::test]
async fn a_new_member_of_an_acknowledged_group_pages_again() {
    let inbox = Inbox::open().await;
    let notifier = grouped(&inbox, json!({})).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.acknowledge("INC-1").await;
    assert_eq!(actions(&inbox), "trigger acknowledge");
    notifier.open("INC-2", "CRITICAL").await;
    assert_eq!(actions(&inbox), "trigger acknowledge resolve trigger");
    // Unacknowledged: another member is only added.
    notifier.open("INC-3", "CRITICAL").await;
    assert_eq!(actions(&inbox), "trigger acknowledge resolve trigger trigger");
    for id in ["INC-1", "INC-2", "INC-3"] {
        notifier.resolve(id).await;
    }
    assert!(actions(&inbox).ends_with("resolve"), "{}", actions(&inbox));
    assert_eq!(notifier.database.count("notifications WHERE status <> 'sent'").await, 0);
}

#[tokio::test]
async fn a_page_ends_when_only_acknowledged_problems_are_left() {
    let inbox = Inbox::open().await;
    let notifier = grouped(&inbox, json!({})).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.open("INC-2", "HIGH").await;
    notifier.acknowledge("INC-1").await;
    assert_eq!(actions(&inbox), "trigger trigger");
    notifier.resolve("INC-2").await;
    assert_eq!(actions(&inbox), "trigger trigger acknowledge");
    notifier.resolve("INC-1").await;
    assert_eq!(actions(&inbox), "trigger trigger acknowledge resolve");
}

#[tokio::test]
async fn an_end_in_a_silence_resolves_the_page_at_once_and_a_reopening_pages_again() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(pagerduty(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    notifier.open("INC-1", "HIGH").await;
    silence(&notifier, 10.0).await;
    notifier.resolve("INC-1").await;
    notifier.sweep(Utc::now()).await;
    assert_eq!((actions(&inbox).as_str(), inbox.kinds().trim()), ("trigger resolve", "firing"));
    notifier.reopen("INC-1").await;
    notifier.database.execute("UPDATE silences SET ends_at = now()").await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(actions(&inbox), "trigger resolve trigger");
    notifier.resolve("INC-1").await;
    assert_eq!(actions(&inbox), "trigger resolve trigger resolve");
    assert_eq!(notifier.database.count("notifications WHERE kind = 'resolved' AND channel = 'webhook'").await, 1);
}

#[tokio::test]
async fn a_reopening_in_a_silence_pages_also_without_other_receivers() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::with(&pagerduty(&inbox)).await;
    notifier.open("INC-1", "HIGH").await;
    silence(&notifier, 10.0).await;
    notifier.resolve("INC-1").await;
    notifier.reopen("INC-1").await;
    notifier.database.execute("UPDATE silences SET ends_at = now()").await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(actions(&inbox), "trigger resolve trigger");
    notifier.resolve("INC-1").await;
    assert_eq!(actions(&inbox), "trigger resolve trigger resolve");
}

#[tokio::test]
async fn a_deleted_incident_resolves_its_page() {
    let inbox = Inbox::open().await;
    let notifier = grouped(&inbox, json!({})).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.database.execute("DELETE FROM incidents").await;
    let later = Utc::now() + chrono::TimeDelta::minutes(3);
    notifier.sweep(later).await;
    notifier.sweep(later).await;
    assert_eq!(actions(&inbox), "trigger resolve");
    assert_eq!(notifier.database.count("notification_members").await, 0);
}

#[tokio::test]
async fn a_failed_heal_run_pages_only_about_a_notified_incident() {
    let inbox = Inbox::open().await;
    let notifier = grouped(&inbox, json!({"group_wait_seconds": 30})).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.receive(&[healed(3, "failed")]).await;
    assert_eq!(actions(&inbox), "", "nothing would end it");
    notifier.pass(31).await;
    notifier.sweep(Utc::now()).await;
    notifier.receive(&[healed(4, "failed")]).await;
    notifier.resolve("INC-1").await;
    assert_eq!(actions(&inbox), "trigger trigger resolve");
}

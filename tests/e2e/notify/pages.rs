//! PagerDuty: an incident there goes on until we end it, and wakes nobody once somebody is on it.

use chrono::Utc;
use serde_json::{Value, json};

use super::escalations::healed;
use super::inbox::Inbox;
use super::mutes::silence;
use super::who::pagerduty;
use super::{Telling, webhook};

/// What was asked for there, in its order.
fn actions(inbox: &Inbox) -> String {
    let got = inbox.got();
    let actions = got.iter().filter_map(|got| got.body["event_action"].as_str());
    actions.collect::<Vec<_>>().join(" ")
}

async fn grouped(inbox: &Inbox, more: Value) -> Telling {
    let telling = Telling::with(&pagerduty(inbox)).await;
    let mut route =
        json!({"name": "all", "channels": ["pagerduty"], "group_by": ["application"], "group_interval_seconds": 0});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    telling.route(json!({"routes": [route]})).await;
    telling
}

#[tokio::test]
async fn what_joins_a_group_that_somebody_is_on_pages_anew() {
    let inbox = Inbox::open().await;
    let telling = grouped(&inbox, json!({})).await;
    telling.open("INC-1", "HIGH").await;
    telling.acknowledge("INC-1").await;
    assert_eq!(actions(&inbox), "trigger acknowledge");
    telling.open("INC-2", "CRITICAL").await;
    assert_eq!(actions(&inbox), "trigger acknowledge resolve trigger");
    // Nobody is on it: one more only joins.
    telling.open("INC-3", "CRITICAL").await;
    assert_eq!(actions(&inbox), "trigger acknowledge resolve trigger trigger");
    for id in ["INC-1", "INC-2", "INC-3"] {
        telling.resolve(id).await;
    }
    assert!(actions(&inbox).ends_with("resolve"), "{}", actions(&inbox));
    assert_eq!(telling.database.count("notifications WHERE status <> 'sent'").await, 0);
}

#[tokio::test]
async fn when_only_that_is_left_that_somebody_is_on_nobody_else_is_woken() {
    let inbox = Inbox::open().await;
    let telling = grouped(&inbox, json!({})).await;
    telling.open("INC-1", "HIGH").await;
    telling.open("INC-2", "HIGH").await;
    telling.acknowledge("INC-1").await;
    assert_eq!(actions(&inbox), "trigger trigger");
    telling.resolve("INC-2").await;
    assert_eq!(actions(&inbox), "trigger trigger acknowledge");
    telling.resolve("INC-1").await;
    assert_eq!(actions(&inbox), "trigger trigger acknowledge resolve");
}

#[tokio::test]
async fn what_ends_in_a_silence_ends_there_at_once_and_pages_again_if_it_is_back() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(pagerduty(&inbox)).collect();
    let telling = Telling::with(&variables).await;
    telling.open("INC-1", "HIGH").await;
    silence(&telling, 10.0).await;
    telling.resolve("INC-1").await;
    telling.sweep(Utc::now()).await;
    assert_eq!((actions(&inbox).as_str(), inbox.kinds().trim()), ("trigger resolve", "firing"));
    telling.reopen("INC-1").await;
    telling.database.execute("UPDATE silences SET ends_at = now()").await;
    telling.sweep(Utc::now()).await;
    assert_eq!(actions(&inbox), "trigger resolve trigger");
    telling.resolve("INC-1").await;
    assert_eq!(actions(&inbox), "trigger resolve trigger resolve");
    assert_eq!(telling.database.count("notifications WHERE kind = 'resolved' AND channel = 'webhook'").await, 1);
}

#[tokio::test]
async fn what_comes_back_in_a_silence_pages_also_where_nobody_else_is_told() {
    let inbox = Inbox::open().await;
    let telling = Telling::with(&pagerduty(&inbox)).await;
    telling.open("INC-1", "HIGH").await;
    silence(&telling, 10.0).await;
    telling.resolve("INC-1").await;
    telling.reopen("INC-1").await;
    telling.database.execute("UPDATE silences SET ends_at = now()").await;
    telling.sweep(Utc::now()).await;
    assert_eq!(actions(&inbox), "trigger resolve trigger");
    telling.resolve("INC-1").await;
    assert_eq!(actions(&inbox), "trigger resolve trigger resolve");
}

#[tokio::test]
async fn what_is_deleted_ends_there() {
    let inbox = Inbox::open().await;
    let telling = grouped(&inbox, json!({})).await;
    telling.open("INC-1", "HIGH").await;
    telling.database.execute("DELETE FROM incidents").await;
    let later = Utc::now() + chrono::TimeDelta::minutes(3);
    telling.sweep(later).await;
    telling.sweep(later).await;
    assert_eq!(actions(&inbox), "trigger resolve");
    assert_eq!(telling.database.count("notification_members").await, 0);
}

#[tokio::test]
async fn a_playbook_that_did_not_help_pages_only_about_what_was_told() {
    let inbox = Inbox::open().await;
    let telling = grouped(&inbox, json!({"group_wait_seconds": 30})).await;
    telling.open("INC-1", "HIGH").await;
    telling.hear(&[healed(3, "failed")]).await;
    assert_eq!(actions(&inbox), "", "nothing would end it");
    telling.pass(31).await;
    telling.sweep(Utc::now()).await;
    telling.hear(&[healed(4, "failed")]).await;
    telling.resolve("INC-1").await;
    assert_eq!(actions(&inbox), "trigger trigger resolve");
}

//! Groups: what is notified together, and when.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::inbox::Inbox;
use super::{Notifier, of_incident};

fn route(more: Value) -> Value {
    let mut route = json!({"name": "all", "channels": ["webhook"]});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"routes": [route]})
}

#[tokio::test]
async fn problems_with_the_same_group_labels_are_notified_together() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier
        .route(route(json!({"group_by": ["application"], "group_wait_seconds": 30, "group_interval_seconds": 300})))
        .await;
    for id in ["INC-1", "INC-2", "INC-3"] {
        notifier.open(id, "LOW").await;
    }
    notifier.pass(28).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "", "the first waits for others");
    notifier.pass(3).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing");
    let data = &inbox.got()[0].body["data"];
    assert_eq!((data["problems"].as_array().unwrap().len(), &data["group"]), (3, &json!("application shop")));
    // A new member waits for the interval. A member that ended before is never notified.
    notifier.open("INC-4", "CRITICAL").await;
    notifier.open("INC-5", "CRITICAL").await;
    notifier.resolve("INC-5").await;
    notifier.resolve("INC-1").await;
    notifier.pass(200).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing");
    notifier.pass(101).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing firing");
    assert_eq!(inbox.got()[1].title(), "It broke: INC-4", "the worst comes first");
    // The member that is resolved meanwhile is named with it: nothing else would.
    let data = inbox.got()[1].body["data"].clone();
    assert_eq!(data["problems"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&data["problems"][3]["title"], &data["problems"][3]["state"]),
        (&json!("It broke: INC-1"), &json!("resolved"))
    );
    assert_eq!(data["remark"], "1 of 4 are over");
    // The end of all members is notified at once.
    for id in ["INC-2", "INC-3", "INC-4"] {
        notifier.resolve(id).await;
    }
    assert_eq!(inbox.kinds(), "firing firing resolved");
    let keys: std::collections::BTreeSet<_> = inbox.got().iter().map(|got| got.dedup_key().to_owned()).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(notifier.database.count("notification_groups WHERE due_at IS NOT NULL").await, 0);
}

#[tokio::test]
async fn the_end_of_some_is_notified_with_the_interval() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(route(json!({"group_by": ["application"], "group_interval_seconds": 60}))).await;
    let began = Utc::now();
    notifier.open("INC-1", "LOW").await;
    notifier.open("INC-2", "LOW").await;
    notifier.sweep(began + TimeDelta::seconds(65)).await;
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing firing");
    notifier.sweep(began + TimeDelta::seconds(130)).await;
    assert_eq!(inbox.kinds(), "firing firing repeat");
    assert_eq!(inbox.got()[2].body["data"]["remark"], "1 of 2 are over");
}

#[tokio::test]
async fn a_problem_that_ends_while_its_group_waits_is_not_notified() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(route(json!({"group_wait_seconds": 30}))).await;
    notifier.open("INC-1", "LOW").await;
    notifier.resolve("INC-1").await;
    notifier.sweep(Utc::now() + TimeDelta::seconds(60)).await;
    assert_eq!(inbox.kinds(), "");
}

#[tokio::test]
async fn a_notification_is_repeated_until_it_is_acknowledged() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(route(json!({"repeat_interval_seconds": 3600}))).await;
    let began = Utc::now();
    notifier.open("INC-1", "LOW").await;
    notifier.sweep(began + TimeDelta::minutes(59)).await;
    assert_eq!(inbox.kinds(), "firing");
    notifier.sweep(began + TimeDelta::minutes(61)).await;
    notifier.sweep(began + TimeDelta::minutes(62)).await;
    assert_eq!(inbox.kinds(), "firing repeat");
    notifier.sweep(began + TimeDelta::minutes(125)).await;
    assert_eq!(inbox.kinds(), "firing repeat repeat");
    notifier.acknowledge("INC-1").await;
    notifier.sweep(began + TimeDelta::minutes(500)).await;
    assert_eq!(inbox.kinds(), "firing repeat repeat acknowledged");
}

#[tokio::test]
async fn a_changed_route_notifies_no_receiver_twice() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.open("INC-1", "LOW").await;
    notifier.route(route(json!({}))).await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-1")]).await;
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing resolved");
}

#[tokio::test]
async fn an_acknowledged_incident_that_reopens_and_ends_is_notified_as_resolved() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(route(json!({"group_interval_seconds": 300}))).await;
    notifier.open("INC-1", "LOW").await;
    notifier.acknowledge("INC-1").await;
    notifier.reopen("INC-1").await;
    assert_eq!(inbox.kinds(), "firing acknowledged", "that it is back waits for the interval");
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing acknowledged resolved");
    assert_eq!(notifier.database.count("notification_members").await, 0);
}

#[tokio::test]
async fn an_acknowledged_incident_that_reopens_is_notified_once() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(route(json!({"group_interval_seconds": 300}))).await;
    notifier.open("INC-1", "LOW").await;
    notifier.acknowledge("INC-1").await;
    notifier.reopen("INC-1").await;
    notifier.pass(301).await;
    notifier.sweep(Utc::now()).await;
    notifier.pass(301).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing acknowledged firing");
    notifier.acknowledge("INC-1").await;
    assert_eq!(inbox.kinds(), "firing acknowledged firing acknowledged");
}

#[tokio::test]
async fn a_notification_about_a_part_of_a_group_says_that_it_omits_others() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(route(json!({"group_by": ["application"], "group_interval_seconds": 0}))).await;
    notifier.open("INC-1", "LOW").await;
    notifier.open("INC-2", "LOW").await;
    notifier.acknowledge("INC-1").await;
    notifier.acknowledge("INC-2").await;
    notifier.resolve("INC-1").await;
    notifier.sweep(Utc::now()).await;
    notifier.resolve("INC-2").await;
    let parts: Vec<_> =
        inbox.got().iter().map(|got| (got.kind().to_owned(), got.body["data"]["is_part"] == json!(true))).collect();
    let parts: Vec<_> = parts.iter().map(|(kind, is_part)| (kind.as_str(), *is_part)).collect();
    let last = [("acknowledged", true), ("acknowledged", true), ("repeat", false), ("resolved", false)];
    assert_eq!(parts, [[("firing", false), ("firing", false)].as_slice(), &last].concat());
}

#[tokio::test]
async fn a_group_that_cannot_be_evaluated_does_not_block_others() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(route(json!({"group_wait_seconds": 30}))).await;
    notifier.open("INC-1", "LOW").await;
    notifier.open("INC-2", "LOW").await;
    notifier
        .database
        .execute(
            "UPDATE notification_groups SET settings = '\"?\"', due_at = due_at - interval '1 second' WHERE group_key =
                (SELECT group_key FROM notification_members WHERE subject = 'incident:INC-1')",
        )
        .await;
    notifier.pass(31).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.got().iter().map(|got| got.title().to_owned()).collect::<Vec<_>>(), ["It broke: INC-2"]);
    assert_eq!(notifier.database.count("notification_groups WHERE due_at > now() + interval '20 seconds'").await, 1);
}

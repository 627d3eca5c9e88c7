//! The order of notifications, and its effect on those that still wait.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use shared::model::Receiver;
use shared::store::notifications::queue;

use super::inbox::Inbox;
use super::who::{pagerduty, sms};
use super::{Notifier, event, webhook};

/// All receivers are paused for an hour.
async fn pause_all(notifier: &Notifier) {
    notifier.database.execute("UPDATE notification_receivers SET paused_until = now() + interval '1 hour'").await;
}

async fn after_an_hour(notifier: &Notifier) {
    notifier.sweep(Utc::now() + TimeDelta::minutes(61)).await;
}

#[tokio::test]
async fn an_end_is_sent_after_its_beginning_despite_clock_skew() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.sweep(Utc::now()).await;
    pause_all(&notifier).await;
    notifier.open("INC-1", "HIGH").await;
    // The first process had a clock that is ahead of the next one's.
    notifier.database.execute("UPDATE notifications SET created_at = created_at + interval '1 minute'").await;
    notifier.resolve("INC-1").await;
    after_an_hour(&notifier).await;
    assert_eq!(inbox.kinds(), "firing resolved");
}

#[tokio::test]
async fn a_page_that_is_acknowledged_before_it_was_sent_is_skipped() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = sms(&inbox).into_iter().chain(pagerduty(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    notifier.sweep(Utc::now()).await;
    pause_all(&notifier).await;
    notifier.open("INC-1", "CRITICAL").await;
    notifier.acknowledge("INC-1").await;
    after_an_hour(&notifier).await;
    assert_eq!(inbox.got().len(), 0);
    assert_eq!(notifier.database.count("notifications WHERE status = 'skipped'").await, 4);
}

#[tokio::test]
async fn a_page_is_sent_while_some_of_its_group_is_unacknowledged() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::with(&sms(&inbox)).await;
    notifier.sweep(Utc::now()).await;
    pause_all(&notifier).await;
    notifier.open("INC-1", "CRITICAL").await;
    notifier.acknowledge("INC-1").await;
    notifier.incident("INC-2", "CRITICAL").await;
    let another = "INSERT INTO notification_members (group_key, subject, state, told, details, fired_at, changed_at)
        SELECT group_key, 'incident:INC-2', 'firing', 'firing', details, now(), now() FROM notification_members";
    notifier.database.execute(another).await;
    after_an_hour(&notifier).await;
    assert_eq!(notifier.messages().await, ["sent firing sms", "sent acknowledged sms"]);
}

#[tokio::test]
async fn a_raised_severity_of_an_acknowledged_incident_pages_no_one() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(pagerduty(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    notifier.open("INC-1", "LOW").await;
    notifier.acknowledge("INC-1").await;
    notifier.set("INC-1", "severity = 'CRITICAL'").await;
    let sql = "SELECT detail FROM event_outbox WHERE detail_type = 'AlertEscalated'";
    let detail: Value = notifier.database.value(sql).await;
    notifier.receive(&[event("AlertEscalated", detail)]).await;
    assert_eq!(notifier.database.count("notifications WHERE channel = 'pagerduty'").await, 0);
}

#[tokio::test]
async fn a_message_updates_the_newest_one_of_its_group() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.acknowledge("INC-1").await;
    // The first was deleted in the channel: the second is a new message.
    notifier.database.execute("UPDATE notifications SET remote = jsonb_build_object('ts', kind)").await;
    pause_all(&notifier).await;
    notifier.resolve("INC-1").await;
    let receiver = &Receiver::parse("webhook").unwrap();
    let waiting = notifier
        .database
        .store()
        .transaction(|mut client| async move {
            let transaction = client.transaction().await?;
            queue::list_waiting(&transaction, receiver, Utc::now(), 10).await
        })
        .await
        .unwrap();
    assert_eq!(waiting.iter().map(|it| it.earlier.clone()).collect::<Vec<_>>(), [Some(json!({"ts": "acknowledged"}))]);
}

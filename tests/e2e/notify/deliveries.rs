//! Deliveries while channels are slow, rate-limited, failing or unavailable.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use shared::store::notifications::{self, Filter, Replay};
use uuid::Uuid;

use super::inbox::{Inbox, Reply};
use super::{Notifier, app, batch, named, of_incident, webhook};

#[tokio::test]
async fn a_rate_limited_channel_is_retried_at_its_retry_after() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    inbox.answer(&[Reply::Later(120)]);
    notifier.open("INC-1", "HIGH").await;
    notifier.open("INC-2", "HIGH").await;
    let now = Utc::now();
    notifier.sweep(now + TimeDelta::seconds(110)).await;
    assert_eq!(inbox.got().len(), 1, "all its messages wait, not only the one");
    notifier.sweep(now + TimeDelta::seconds(125)).await;
    assert_eq!(inbox.got().len(), 3);
    assert_eq!(inbox.got()[0].id, inbox.got()[1].id, "the same message, in its turn");
    assert_eq!(notifier.database.count("notifications WHERE status = 'sent' AND response_status = 200").await, 2);
}

#[tokio::test]
async fn a_retry_after_is_capped_at_a_quarter_of_an_hour() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    inbox.answer(&[Reply::Later(86_400)]);
    notifier.open("INC-1", "HIGH").await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(16)).await;
    assert_eq!(notifier.messages().await, ["sent firing webhook"]);
}

#[tokio::test]
async fn a_refused_resolved_notification_is_retried_too() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    inbox.answer(&[Reply::Status(503)]);
    notifier.open("INC-1", "HIGH").await;
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing", "the end comes after the beginning");
    inbox.answer(&[Reply::Status(200), Reply::Status(500)]);
    notifier.sweep(Utc::now() + TimeDelta::seconds(10)).await;
    assert_eq!(inbox.kinds(), "firing firing resolved");
    notifier.sweep(Utc::now() + TimeDelta::seconds(30)).await;
    assert_eq!(inbox.kinds(), "firing firing resolved resolved");
    assert_eq!(notifier.messages().await, ["sent firing webhook", "sent resolved webhook"]);
    assert_eq!(inbox.got()[2].id, inbox.got()[3].id);
}

#[tokio::test]
async fn a_refused_notification_is_listed_and_can_be_replayed() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    inbox.answer(&[Reply::Status(400)]);
    notifier.open("INC-1", "HIGH").await;
    notifier.sweep(Utc::now() + TimeDelta::hours(1)).await;
    assert_eq!(inbox.got().len(), 1);
    let store = notifier.database.store();
    let failed = Filter { failed: true };
    let listed = store.run(|client| async move { notifications::list(&client, &failed, 10).await }).await.unwrap();
    assert_eq!(listed.len(), 1);
    let first = &listed[0];
    assert_eq!((first.response_status, first.attempts, first.incident_id.as_deref()), (Some(400), 1, Some("INC-1")));
    assert!(first.last_error.is_some() && first.next_attempt_at.is_none());
    let replay = |id| {
        let store = store.clone();
        async move { store.run(|client| async move { notifications::replay(&client, id, Utc::now()).await }).await.unwrap() }
    };
    assert_eq!(replay(first.id).await, Replay::Queued);
    assert_eq!(replay(first.id).await, Replay::Waiting);
    assert_eq!(replay(Uuid::nil()).await, Replay::Unknown);
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.got().len(), 2);
    assert_eq!(notifier.messages().await, ["sent firing webhook"]);
}

#[tokio::test]
async fn a_crash_between_sending_and_recording_retries_with_the_same_id() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    inbox.always(Some(Reply::Hang));
    notifier.incident("INC-1", "HIGH").await;
    let (other, event) = (notifier.app.clone(), of_incident("IncidentOpened", "INC-1"));
    let killed = tokio::spawn(async move { notify::handle(&other, batch(&[event])).await });
    inbox.wait_for(1).await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    inbox.always(None);
    notifier.sweep(Utc::now() + TimeDelta::seconds(30)).await;
    assert_eq!(inbox.got().len(), 1, "another run may still be sending it");
    notifier.sweep(Utc::now() + TimeDelta::seconds(70)).await;
    let got = inbox.got();
    assert_eq!(got.len(), 2);
    assert_eq!((&got[0].id, got[0].dedup_key()), (&got[1].id, got[1].dedup_key()));
    assert_eq!(notifier.messages().await, ["sent firing webhook"]);
}

#[tokio::test]
async fn after_an_hour_of_outage_a_channel_gets_everything_in_order() {
    let inbox = Inbox::open().await;
    // Connections there are refused.
    let notifier = Notifier::with(&[
        ("NOTIFY_WEBHOOK_URL", "http://127.0.0.1:1/".to_owned()),
        ("NOTIFY_WEBHOOK_SECRET", super::WEBHOOK_SECRET.to_owned()),
    ])
    .await;
    let began = Utc::now();
    for nth in 0..20 {
        notifier.open(&format!("INC-{nth}"), "HIGH").await;
    }
    notifier.resolve("INC-3").await;
    for minute in 0..60 {
        notifier.sweep(began + TimeDelta::minutes(minute)).await;
    }
    let attempts: i64 = notifier.database.value("SELECT sum(attempts) FROM notifications").await;
    assert!(attempts < 20, "a dead channel is not hammered: {attempts} attempts");
    let back = app(&notifier.database, &webhook(&inbox));
    notify::sweep(&back, began + TimeDelta::minutes(80)).await.unwrap();
    notify::sweep(&back, began + TimeDelta::minutes(96)).await.unwrap();
    assert_eq!(inbox.got().len(), 21);
    assert_eq!(inbox.got().iter().filter(|got| got.title() == "It broke: INC-3").count(), 2);
    assert_eq!(inbox.kinds().matches("resolved").count(), 1);
    assert_eq!(notifier.database.count("notifications WHERE status <> 'sent'").await, 0);
    assert_eq!(
        notifier.database.count("notification_receivers WHERE failures > 0 OR paused_until IS NOT NULL").await,
        0
    );
}

#[tokio::test]
async fn after_three_days_a_message_is_given_up() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    inbox.always(Some(Reply::Status(503)));
    notifier.open("INC-1", "HIGH").await;
    notifier.sweep(Utc::now() + TimeDelta::days(2)).await;
    assert_eq!(notifier.messages().await, ["pending firing webhook"]);
    notifier.sweep(Utc::now() + TimeDelta::days(3) + TimeDelta::minutes(1)).await;
    assert_eq!(notifier.messages().await, ["failed firing webhook"]);
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_delay_others() {
    let inbox = Inbox::open().await;
    let slow = Inbox::open().await;
    slow.always(Some(Reply::Hang));
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(named(&slow, "SLOW")).collect();
    let notifier = Notifier::with(&variables).await;
    notifier.route(json!({"routes": [{"name": "all", "channels": ["webhook:SLOW", "webhook"]}]})).await;
    notifier.incident("INC-1", "HIGH").await;
    let (other, event) = (notifier.app.clone(), of_incident("IncidentOpened", "INC-1"));
    let handled = tokio::spawn(async move { notify::handle(&other, batch(&[event])).await });
    inbox.wait_for(1).await;
    slow.wait_for(1).await;
    notifier.database.wait_until("SELECT status = 'sent' FROM notifications WHERE recipient = 'default'").await;
    handled.abort();
}

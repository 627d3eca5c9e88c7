//! Receivers, e-mail tracking and the order of stored notifications.

use chrono::{TimeDelta, Utc};

use super::inbox::Inbox;
use super::{Notifier, app, batch, named, of_incident, webhook};

#[tokio::test]
async fn configured_and_removed_receivers_are_recorded() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.sweep(Utc::now()).await;
    let seen = "notification_receivers WHERE channel = 'webhook' AND recipient = 'default' AND seen_at > now() - interval '1 minute'";
    assert_eq!(notifier.database.count(seen).await, 1);
    let bare = app(&notifier.database, &[]);
    notify::sweep(&bare, Utc::now() + TimeDelta::minutes(11)).await.unwrap();
    assert_eq!(notifier.database.count("notification_receivers WHERE seen_at IS NULL").await, 1);
}

#[tokio::test]
async fn the_tracking_of_an_e_mail_begins_when_it_is_sent() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::with(&[
        ("SENDGRID_API_KEY", "key".to_owned()),
        ("SENDGRID_API_URL", inbox.url("/sendgrid")),
        ("EMAIL_FROM", "watchkeeper@example.com".to_owned()),
        ("EMAIL_TO", "ops@example.com".to_owned()),
    ])
    .await;
    notifier.open("INC-1", "LOW").await;
    assert_eq!(notifier.messages().await, ["sent firing email"]);
    let tracked: bool = notifier
        .database
        .value(
            "SELECT tracked.email_id = message.id::text AND tracked.recipient = 'ops@example.com' AND tracked.status = 'sent'
                AND tracked.subject LIKE '%INC-1%' AND incident.incident_id = 'INC-1'
            FROM email_tracking AS tracked
            JOIN notifications AS message ON message.id::text = tracked.email_id
            JOIN incidents AS incident ON incident.id = tracked.incident_id",
        )
        .await;
    assert!(tracked);
}

#[tokio::test]
async fn e_mails_without_a_recipient_go_to_the_configured_address() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::with(&[
        ("SENDGRID_API_KEY", "key".to_owned()),
        ("SENDGRID_API_URL", inbox.url("/sendgrid")),
        ("EMAIL_FROM", "watchkeeper@example.com".to_owned()),
    ])
    .await;
    let address =
        r#"UPDATE system_config SET value = '{"email": "team@example.com"}' WHERE key = 'notification_email'"#;
    notifier.database.execute(address).await;
    notifier.open("INC-1", "LOW").await;
    let to: String = notifier.database.value("SELECT channel || ':' || recipient FROM notifications").await;
    assert_eq!(to, "email:team@example.com");
}

#[tokio::test]
async fn messages_of_one_group_to_one_receiver_keep_their_order_with_two_senders() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(named(&inbox, "B")).collect();
    let notifier = Notifier::with(&variables).await;
    let other = app(&notifier.database, &variables);
    notifier.route(serde_json::json!({"routes": [{"name": "all", "channels": ["webhook", "webhook:B"]}]})).await;
    // Everything is decided while all receivers are paused.
    let receivers = "INSERT INTO notification_receivers (channel, recipient, paused_until)
        VALUES ('webhook', 'default', now() + interval '1 hour'), ('webhook', 'B', now() + interval '1 hour')";
    notifier.database.execute(receivers).await;
    for nth in 0..15 {
        let id = format!("INC-{nth}");
        notifier.open(&id, "LOW").await;
        notifier.acknowledge(&id).await;
        notifier.resolve(&id).await;
    }
    notifier.database.execute("UPDATE notification_receivers SET paused_until = NULL").await;
    let late = Utc::now();
    for _ in 0..5 {
        let (one, two) = tokio::join!(notify::sweep(&notifier.app, late), notify::sweep(&other, late));
        one.unwrap();
        two.unwrap();
    }
    let got = inbox.got();
    assert_eq!(got.len(), 90);
    for path in ["/", "/B"] {
        for nth in 0..15 {
            let title = format!("It broke: INC-{nth}");
            let kinds: Vec<_> = got
                .iter()
                .filter(|got| got.path == path && got.title() == title)
                .map(super::inbox::Got::kind)
                .collect();
            assert_eq!(kinds, ["firing", "acknowledged", "resolved"], "{path} {title}");
        }
    }
}

#[tokio::test]
async fn a_storm_in_one_group_is_counted_once_and_notified_together() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier
        .route(serde_json::json!({"routes": [
            {"name": "all", "channels": ["webhook"], "group_by": ["application"], "group_wait_seconds": 30}
        ]}))
        .await;
    let mut events = Vec::new();
    for nth in 0..200 {
        let id = format!("INC-{nth}");
        notifier.incident(&id, "LOW").await;
        events.push(of_incident("IncidentOpened", &id));
    }
    let (one, two) = tokio::join!(
        notify::handle(&notifier.app, batch(&events[..100])),
        notify::handle(&notifier.app, batch(&events[100..]))
    );
    assert!(one.batch_item_failures.is_empty() && two.batch_item_failures.is_empty());
    notifier.pass(31).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!(inbox.got()[0].body["data"]["more"], 190);
}

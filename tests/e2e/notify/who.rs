//! Routes: which receivers are notified.

use serde_json::json;

use super::inbox::Inbox;
use super::{Notifier, event, named, of_incident, webhook};

pub(super) fn sms(inbox: &Inbox) -> [(&'static str, String); 5] {
    [
        ("TWILIO_ACCOUNT_SID", "AC1".to_owned()),
        ("TWILIO_AUTH_TOKEN", "secret".to_owned()),
        ("TWILIO_FROM", "+15005550006".to_owned()),
        ("SMS_TO", "+4915112345678".to_owned()),
        ("TWILIO_API_URL", inbox.url("/twilio")),
    ]
}

pub(super) fn pagerduty(inbox: &Inbox) -> [(&'static str, String); 2] {
    [("PAGERDUTY_ROUTING_KEY", "key".to_owned()), ("PAGERDUTY_API_URL", inbox.url("/pagerduty"))]
}

#[tokio::test]
async fn without_routes_the_severity_decides_who_is_paged() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(sms(&inbox)).chain(pagerduty(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    notifier.open("INC-1", "CRITICAL").await;
    notifier.open("INC-2", "LOW").await;
    assert_eq!(
        notifier.messages().await,
        ["sent firing pagerduty", "sent firing sms", "sent firing webhook", "sent firing webhook"]
    );
    notifier.resolve("INC-1").await;
    assert_eq!(notifier.database.count("notifications WHERE kind = 'resolved' AND status = 'sent'").await, 3);
}

#[tokio::test]
async fn without_receivers_nothing_fails() {
    let notifier = Notifier::with(&[]).await;
    notifier.open("INC-1", "CRITICAL").await;
    notifier.resolve("INC-1").await;
    assert_eq!(notifier.messages().await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_receiver_of_a_route_that_is_not_configured_fails_visibly() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.route(json!({"routes": [{"name": "all", "channels": ["slack:#ops", "email", "webhook"]}]})).await;
    notifier.open("INC-1", "CRITICAL").await;
    assert_eq!(notifier.messages().await, ["failed firing email", "failed firing slack", "sent firing webhook"]);
    // A receiver that was not notified of the beginning is not notified of the end.
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing resolved");
    assert_eq!(notifier.database.count("notifications WHERE kind = 'resolved' AND status = 'skipped'").await, 2);
}

#[tokio::test]
async fn routes_lead_to_receivers_and_each_is_notified_once() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> =
        webhook(&inbox).into_iter().chain(named(&inbox, "SHOP")).chain(named(&inbox, "REST")).collect();
    let notifier = Notifier::with(&variables).await;
    notifier
        .route(json!({"routes": [
            {"name": "log", "channels": ["webhook"], "continue": true},
            {"name": "shop", "match": {"application": ["shop"]}, "channels": ["webhook:SHOP", "webhook"]},
            {"name": "rest", "channels": ["webhook:REST"]}
        ]}))
        .await;
    notifier.open("INC-1", "LOW").await;
    notifier.incident_of("INC-2", "LOW", "bank").await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-2")]).await;
    notifier.resolve("INC-1").await;
    let mut got: Vec<_> =
        inbox.got().iter().map(|got| format!("{} {} {}", got.path, got.kind(), got.title())).collect();
    got.sort();
    assert_eq!(
        got,
        [
            "/ firing It broke: INC-1",
            "/ firing It broke: INC-2",
            "/ resolved It broke: INC-1",
            "/REST firing It broke: INC-2",
            "/SHOP firing It broke: INC-1",
            "/SHOP resolved It broke: INC-1",
        ]
    );
}

#[tokio::test]
async fn a_raised_severity_notifies_further_receivers() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(pagerduty(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    notifier.open("INC-1", "LOW").await;
    // The trigger writes the event.
    notifier.set("INC-1", "severity = 'CRITICAL'").await;
    let detail: serde_json::Value =
        notifier.database.value("SELECT detail FROM event_outbox WHERE detail_type = 'AlertEscalated'").await;
    let worse = event("AlertEscalated", detail);
    notifier.receive(std::slice::from_ref(&worse)).await;
    notifier.receive(&[worse]).await;
    assert_eq!(notifier.messages().await, ["sent firing webhook", "sent escalated pagerduty"]);
    notifier.resolve("INC-1").await;
    assert_eq!(notifier.database.count("notifications WHERE kind = 'resolved' AND status = 'sent'").await, 2);
}

#[tokio::test]
async fn a_page_of_an_incident_that_ended_before_it_was_sent_is_skipped() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::with(&sms(&inbox)).await;
    notifier.open("INC-0", "CRITICAL").await;
    notifier.database.execute("UPDATE notification_receivers SET paused_until = now() + interval '1 minute'").await;
    notifier.open("INC-1", "CRITICAL").await;
    notifier.resolve("INC-1").await;
    notifier.sweep(chrono::Utc::now() + chrono::TimeDelta::minutes(2)).await;
    assert_eq!(notifier.messages().await, ["sent firing sms", "skipped firing sms", "skipped resolved sms"]);
    assert_eq!(inbox.got().len(), 1);
}

#[tokio::test]
async fn the_daily_limit_of_text_messages_is_enforced() {
    let inbox = Inbox::open().await;
    let mut variables = sms(&inbox).to_vec();
    variables.push(("SMS_DAILY_LIMIT", "2".to_owned()));
    let notifier = Notifier::with(&variables).await;
    for nth in 0..4 {
        notifier.open(&format!("INC-{nth}"), "CRITICAL").await;
    }
    assert_eq!(inbox.got().len(), 2);
    assert_eq!(notifier.database.count("notifications WHERE status = 'failed' AND last_error IS NOT NULL").await, 2);
}

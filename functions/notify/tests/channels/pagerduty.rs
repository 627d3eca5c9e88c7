//! PagerDuty's Events API v2.

use notify::channel::{Address, ChannelsConfig, Delivery};
use notify::notification::{NotificationKind, ProblemState};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::config::Secrets;
use shared::model::Severity;
use wiremock::ResponseTemplate;

use crate::messages::{delivery, problem, resolved_problem};
use crate::vendor::{answering, judges_every_answer, only_body, outcome, requests, send};

fn config(uri: &str) -> ChannelsConfig {
    ChannelsConfig {
        pagerduty: Some(SecretString::from("R0SECRET")),
        pagerduty_api: Some(Address::parse(uri).unwrap()),
        ..ChannelsConfig::default()
    }
}

fn taken() -> ResponseTemplate {
    let body = json!({"status": "success", "message": "Event processed", "dedup_key": "watchkeeper/INC-20261124-0001"});
    ResponseTemplate::new(202).set_body_json(body)
}

/// The event that PagerDuty got; null when none.
async fn sent(delivery: &Delivery) -> Value {
    let server = answering(taken()).await;
    send(&config(&server.uri()), delivery).await.unwrap();
    requests(&server).await.first().map(|it| it.body_json().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn a_problem_triggers_an_incident() {
    let server = answering(taken()).await;
    let sent = send(&config(&server.uri()), &delivery("pagerduty", NotificationKind::Firing)).await;
    assert_eq!(outcome(&sent), ("sent", Some(202), None));
    assert_eq!(requests(&server).await[0].url.path(), "/v2/enqueue");
    assert_eq!(
        only_body(&server).await,
        json!({
            "routing_key": "R0SECRET",
            "event_action": "trigger",
            "dedup_key": "watchkeeper/INC-20261124-0001",
            "client": "Watchkeeper",
            "client_url": "https://watch.example.com/api/incidents/INC-20261124-0001",
            "links": [{
                "href": "https://watch.example.com/api/incidents/INC-20261124-0001",
                "text": "INC-20261124-0001",
            }],
            "payload": {
                "summary": "TypeError: x is undefined: shop (production), service payments-api",
                "severity": "critical",
                "source": "shop (production), service payments-api",
                "timestamp": "2026-11-24T02:03:04.000Z",
                "component": "payments-api",
                "group": "shop",
                "class": "backend",
                "custom_details": {
                    "Where": "shop (production), service payments-api",
                    "Since": "2026-11-24 01:50:00 UTC",
                    "How bad": "CRITICAL, backend",
                    "Seen": "12 times, by 3 people",
                    "Tried": "restarted the pods; asked the service again",
                    "Incident": "INC-20261124-0001",
                    "Message": "TypeError: x is undefined at checkout (cart.js:12)",
                },
            },
        })
    );
}

#[tokio::test]
async fn all_changes_are_sent_under_the_same_key() {
    for (kind, action) in [(NotificationKind::Acknowledged, "acknowledge"), (NotificationKind::Resolved, "resolve")] {
        assert_eq!(
            sent(&delivery("pagerduty", kind)).await,
            json!({
                "routing_key": "R0SECRET",
                "event_action": action,
                "dedup_key": "watchkeeper/INC-20261124-0001",
                "client": "Watchkeeper",
            })
        );
    }
    for kind in
        [NotificationKind::Repeat, NotificationKind::Escalated, NotificationKind::Heal, NotificationKind::Digest]
    {
        assert_eq!(sent(&delivery("pagerduty", kind)).await["event_action"], "trigger", "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_over_pages_no_one() {
    for kind in [NotificationKind::Summary, NotificationKind::Heal, NotificationKind::Digest] {
        let mut delivery = delivery("pagerduty", kind);
        delivery.notification.problems = vec![resolved_problem()];
        assert_eq!(sent(&delivery).await, Value::Null, "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_over_in_part_resolves_nothing() {
    for kind in [NotificationKind::Resolved, NotificationKind::Acknowledged] {
        let mut delivery = delivery("pagerduty", kind);
        delivery.notification.problems = vec![problem(), resolved_problem()];
        assert_eq!(sent(&delivery).await["event_action"], "trigger", "{kind:?}");
    }
    let mut delivery = delivery("pagerduty", NotificationKind::Acknowledged);
    delivery.notification.problems[0].state = ProblemState::Acknowledged;
    delivery.notification.problems.push(resolved_problem());
    assert_eq!(sent(&delivery).await["event_action"], "acknowledge");
}

#[tokio::test]
async fn each_severity_has_pagerduty_s_name() {
    for (severity, name) in [
        (Severity::Critical, "critical"),
        (Severity::High, "error"),
        (Severity::Medium, "warning"),
        (Severity::Low, "info"),
    ] {
        let mut delivery = delivery("pagerduty", NotificationKind::Firing);
        delivery.notification.problems[0].severity = severity;
        assert_eq!(sent(&delivery).await["payload"]["severity"], name);
    }
}

#[tokio::test]
async fn limits_are_kept() {
    let mut delivery = delivery("pagerduty", NotificationKind::Firing);
    delivery.dedup_key = "k".repeat(300);
    delivery.notification.problems[0].title = "é".repeat(1_000_000);
    delivery.notification.problems[0].message = Some("漢".repeat(1_000_000));
    let event = sent(&delivery).await;
    assert_eq!(event["dedup_key"].as_str().unwrap().chars().count(), 255);
    assert!(event["payload"]["summary"].as_str().unwrap().chars().count() <= 1_024);
    assert!(event.to_string().len() <= 512_000);
}

#[tokio::test]
async fn every_answer_is_judged() {
    judges_every_answer(&delivery("pagerduty", NotificationKind::Firing), config).await;
    // PagerDuty asks for half a minute at least.
    for (header, seconds) in [("1", 30), ("90", 90)] {
        let server = answering(ResponseTemplate::new(429).insert_header("retry-after", header)).await;
        let result = send(&config(&server.uri()), &delivery("pagerduty", NotificationKind::Firing)).await;
        assert_eq!(outcome(&result), ("later", Some(429), Some(seconds)));
    }
}

#[tokio::test]
async fn another_service_is_named_by_its_variable() {
    let server = answering(taken()).await;
    let named = Secrets::from_lookup(|name| (name == "PAGERDUTY_ROUTING_KEY_DATABASE").then(|| "R1".to_owned()));
    let config = ChannelsConfig { named, pagerduty: None, ..config(&server.uri()) };
    send(&config, &delivery("pagerduty:DATABASE", NotificationKind::Firing)).await.unwrap();
    assert_eq!(only_body(&server).await["routing_key"], "R1");
    assert_eq!(outcome(&send(&config, &delivery("pagerduty", NotificationKind::Firing)).await).0, "not configured");
}

//! Slack's incoming webhooks.

use notify::channel::{Address, ChannelsConfig, SlackConfig};
use notify::notification::NotificationKind;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::messages::{delivery, problem};
use crate::vendor::{answering, judges_every_answer, only_body, outcome, requests, send};

fn config(uri: &str) -> ChannelsConfig {
    let address = Address::parse(&format!("{uri}/services/T0SECRET/B0SECRET/xSECRET")).unwrap();
    ChannelsConfig { slack: Some(SlackConfig::Webhook(address)), ..ChannelsConfig::default() }
}

#[tokio::test]
async fn a_first_message_shows_everything() {
    let server = answering(ResponseTemplate::new(200).set_body_string("ok")).await;
    let sent = send(&config(&server.uri()), &delivery("slack", NotificationKind::Firing)).await;
    assert_eq!(outcome(&sent), ("sent", Some(200), None));
    let plain = |text: &str| json!({"type": "plain_text", "text": text, "emoji": false});
    assert_eq!(
        only_body(&server).await,
        json!({
            "text": "[CRITICAL] TypeError: x is undefined",
            "mrkdwn": false,
            "unfurl_links": false,
            "unfurl_media": false,
            "blocks": [
                {"type": "header", "text": plain("[CRITICAL] TypeError: x is undefined")},
                {"type": "section", "fields": [
                    plain("Where\nshop (production), service payments-api"),
                    plain("Since\n2026-11-24 01:50:00 UTC"),
                    plain("How bad\nCRITICAL, backend"),
                    plain("Seen\n12 times, by 3 people"),
                    plain("Tried\nrestarted the pods; asked the service again"),
                    plain("Incident\nINC-20261124-0001"),
                ]},
                {"type": "section", "text": plain("TypeError: x is undefined at checkout (cart.js:12)")},
                {"type": "context", "elements": [
                    {
                        "type": "mrkdwn",
                        "text": "<https://watch.example.com/api/incidents/INC-20261124-0001|INC-20261124-0001>",
                    },
                    plain("Watchkeeper, 2026-11-24 02:03:04 UTC"),
                ]},
            ],
        })
    );
    assert_eq!(requests(&server).await[0].url.path(), "/services/T0SECRET/B0SECRET/xSECRET");
}

#[tokio::test]
async fn what_becomes_of_it_is_one_short_message() {
    let server = answering(ResponseTemplate::new(200).set_body_string("ok")).await;
    send(&config(&server.uri()), &delivery("slack", NotificationKind::Resolved)).await.unwrap();
    let body = only_body(&server).await;
    assert_eq!(
        body["blocks"][0]["text"]["text"],
        "Resolved: TypeError: x is undefined, shop (production), service payments-api, after 12 min, handled by Ada"
    );
    assert_eq!(body["blocks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn several_problems_are_a_list() {
    let server = answering(ResponseTemplate::new(200).set_body_string("ok")).await;
    let mut delivery = delivery("slack", NotificationKind::Firing);
    delivery.notification.problems = vec![problem(); 10];
    delivery.notification.more = 5;
    delivery.notification.group = Some("application shop".to_owned());
    send(&config(&server.uri()), &delivery).await.unwrap();
    let body = only_body(&server).await;
    assert_eq!(body["blocks"][0]["text"]["text"], "[CRITICAL] 15 problems (application shop)");
    assert_eq!(
        body["blocks"][1]["text"]["text"],
        "[CRITICAL] TypeError: x is undefined: shop (production), service payments-api, since 2026-11-24 01:50:00 UTC, \
         12 times, by 3 people"
    );
    assert_eq!(body["blocks"].as_array().unwrap().len(), 12);
    assert_eq!(body["blocks"][11]["elements"][1]["text"], "and 5 more");
}

#[tokio::test]
async fn every_answer_is_judged() {
    judges_every_answer(&delivery("slack", NotificationKind::Firing), config).await;
}

#[tokio::test]
async fn a_webhook_can_t_choose_a_channel() {
    let sent = send(&config("http://127.0.0.1:9"), &delivery("slack:#payments", NotificationKind::Firing)).await;
    assert_eq!(sent.unwrap_err().to_string(), "the environment names no slack:#payments");
}

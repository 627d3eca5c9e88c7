//! Discord's webhooks.

use notify::channel::{Address, ChannelsConfig};
use notify::notification::NotificationKind;
use serde_json::json;
use shared::config::Secrets;
use wiremock::ResponseTemplate;

use crate::messages::{delivery, problem};
use crate::vendor::{answering, judges_every_answer, only_body, outcome, requests, send};

fn config(uri: &str) -> ChannelsConfig {
    let address = Address::parse(&format!("{uri}/api/webhooks/123/tokSECRET?thread_id=7")).unwrap();
    ChannelsConfig { discord: Some(address), ..ChannelsConfig::default() }
}

fn taken() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"id": "555", "channel_id": "777", "embeds": []}))
}

#[tokio::test]
async fn a_link_that_discord_takes_for_none_is_left_out() {
    for (url, is_kept) in [
        ("http://localhost:8080/api/incidents/INC-1", false),
        ("http://watchkeeper/api/incidents/INC-1", false),
        ("http://127.0.0.1:8080/api/incidents/INC-1", true),
        ("https://watch.example.com/api/incidents/INC-1", true),
    ] {
        let server = answering(ResponseTemplate::new(200).set_body_json(json!({"id": "1"}))).await;
        let mut delivery = delivery("discord", NotificationKind::Firing);
        delivery.notification.problems[0].url = Some(url.to_owned());
        send(&config(&server.uri()), &delivery).await.unwrap();
        assert_eq!(only_body(&server).await["embeds"][0]["url"].is_string(), is_kept, "{url}");
    }
}

#[tokio::test]
async fn a_message_is_one_embed_that_mentions_no_one() {
    let server = answering(taken()).await;
    let sent = send(&config(&server.uri()), &delivery("discord", NotificationKind::Firing)).await.unwrap();
    assert_eq!(sent.remote, Some(json!({"id": "555", "channel_id": "777"})));
    assert_eq!(requests(&server).await[0].url.query(), Some("thread_id=7&wait=true"));
    assert_eq!(
        only_body(&server).await,
        json!({
            "allowed_mentions": {"parse": []},
            "embeds": [{
                "title": "\\[CRITICAL\\] TypeError\\: x is undefined",
                "description": "TypeError\\: x is undefined at checkout \\(cart.js\\:12\\)",
                "url": "https://watch.example.com/api/incidents/INC-20261124-0001",
                "color": 0x00B4_2318,
                "timestamp": "2026-11-24T02:03:04.000Z",
                "footer": {"text": "Watchkeeper"},
                "fields": [
                    {"name": "Where", "value": "shop \\(production\\), service payments\\-api"},
                    {"name": "Since", "value": "2026\\-11\\-24 01\\:50\\:00 UTC"},
                    {"name": "How bad", "value": "CRITICAL, backend"},
                    {"name": "Seen", "value": "12 times, by 3 people"},
                    {"name": "Tried", "value": "restarted the pods; asked the service again"},
                    {"name": "Incident", "value": "INC\\-20261124\\-0001"},
                ],
            }],
        })
    );
}

#[tokio::test]
async fn several_problems_are_a_list_of_links() {
    let server = answering(taken()).await;
    let mut delivery = delivery("discord", NotificationKind::Digest);
    delivery.notification.problems = vec![problem(); 10];
    delivery.notification.more = 30;
    send(&config(&server.uri()), &delivery).await.unwrap();
    let embed = &only_body(&server).await["embeds"][0];
    assert_eq!(embed["title"], "\\[CRITICAL\\] Many at once\\: 40 problems");
    let list = embed["description"].as_str().unwrap();
    assert_eq!(list.lines().count(), 10);
    assert!(
        list.contains("[INC\\-20261124\\-0001](https://watch.example.com/api/incidents/INC-20261124-0001)"),
        "{list}"
    );
    assert_eq!(embed["footer"]["text"], "and 30 more · Watchkeeper");
}

#[tokio::test]
async fn what_becomes_of_a_problem_is_a_message_of_its_own() {
    let server = answering(taken()).await;
    send(&config(&server.uri()), &delivery("discord", NotificationKind::Resolved)).await.unwrap();
    let embed = &only_body(&server).await["embeds"][0];
    assert_eq!(embed["title"], "Resolved\\: TypeError\\: x is undefined");
    assert_eq!(embed["color"], 0x0006_7647);
    assert_eq!(
        embed["fields"][1]["value"],
        "2026\\-11\\-24 01\\:50\\:00 UTC to 2026\\-11\\-24 02\\:02\\:00 UTC \\(12 min\\)"
    );
}

#[tokio::test]
async fn the_longer_of_the_two_pauses_counts() {
    for (header, body, seconds) in [(None, 64.57, 64), (Some("3"), 64.57, 64), (Some("90"), 0.3, 90)] {
        let answer = json!({"message": "You are being rate limited.", "retry_after": body, "global": false});
        let mut answer = ResponseTemplate::new(429).set_body_json(answer);
        if let Some(header) = header {
            answer = answer.insert_header("retry-after", header);
        }
        let server = answering(answer).await;
        let result = send(&config(&server.uri()), &delivery("discord", NotificationKind::Firing)).await;
        assert_eq!(outcome(&result), ("later", Some(429), Some(seconds)));
    }
}

#[tokio::test]
async fn every_answer_is_judged() {
    judges_every_answer(&delivery("discord", NotificationKind::Firing), config).await;
    let gone = ResponseTemplate::new(404).set_body_json(json!({"message": "Unknown Webhook", "code": 10015}));
    let server = answering(gone).await;
    let refused = send(&config(&server.uri()), &delivery("discord", NotificationKind::Firing)).await.unwrap_err();
    assert_eq!(refused.to_string(), r#"Discord answered 404: {"code":10015,"message":"Unknown Webhook"}"#);
}

#[tokio::test]
async fn another_webhook_is_named_by_its_variable() {
    let server = answering(taken()).await;
    let url = format!("{}/night", server.uri());
    let named = Secrets::from_lookup(move |name| (name == "DISCORD_WEBHOOK_URL_NIGHT").then(|| url.clone()));
    let config = ChannelsConfig { named, ..ChannelsConfig::default() };
    send(&config, &delivery("discord:NIGHT", NotificationKind::Firing)).await.unwrap();
    assert_eq!(requests(&server).await[0].url.path(), "/night");
    assert_eq!(outcome(&send(&config, &delivery("discord", NotificationKind::Firing)).await).0, "not configured");
    let named = Secrets::from_lookup(|_| Some("http://discord.com/SECRET".to_owned()));
    let config = ChannelsConfig { named, ..ChannelsConfig::default() };
    let refused = send(&config, &delivery("discord:NIGHT", NotificationKind::Firing)).await.unwrap_err().to_string();
    assert!(refused.starts_with("DISCORD_WEBHOOK_URL_NIGHT: it must begin with https://"), "{refused}");
    assert!(!refused.contains("SECRET"), "{refused}");
}

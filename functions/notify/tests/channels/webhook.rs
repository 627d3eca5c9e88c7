//! The signed webhook.

use std::time::Duration;

use chrono::Utc;
use notify::channel::webhook::SigningKey;
use notify::channel::{Address, Channels, ChannelsConfig, WebhookConfig};
use notify::notification::NotificationKind;
use secrecy::SecretString;
use serde_json::json;
use shared::config::Secrets;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wiremock::{Request, ResponseTemplate};

use crate::messages::delivery;
use crate::vendor::{answering, judges_every_answer, only_body, outcome, requests, send};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn config(uri: &str) -> ChannelsConfig {
    let url = Address::parse(&format!("{uri}/hooks/SECRETPATH")).unwrap();
    let key = SigningKey::parse(&SecretString::from(SECRET)).unwrap();
    ChannelsConfig { webhook: Some(WebhookConfig { url, key }), ..ChannelsConfig::default() }
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.get(name).unwrap().to_str().unwrap()
}

#[tokio::test]
async fn everything_is_sent_and_signed() {
    let server = answering(ResponseTemplate::new(204)).await;
    let sent = send(&config(&server.uri()), &delivery("webhook", NotificationKind::Firing)).await;
    assert_eq!(outcome(&sent), ("sent", Some(204), None));
    assert_eq!(
        only_body(&server).await,
        json!({
            "type": "notification.firing",
            "timestamp": "2026-11-24T02:03:04.000Z",
            "data": {
                "id": "01900000-0000-7000-8000-000000000001",
                "dedup_key": "watchkeeper/INC-20261124-0001",
                "kind": "firing",
                "at": "2026-11-24T02:03:04Z",
                "more": 0,
                "group": null,
                "remark": null,
                "problems": [{
                    "state": "firing",
                    "title": "TypeError: x is undefined",
                    "severity": "CRITICAL",
                    "category": "backend",
                    "application": "shop",
                    "environment": "production",
                    "service": "payments-api",
                    "message": "TypeError: x is undefined at checkout (cart.js:12)",
                    "since": "2026-11-24T01:50:00Z",
                    "resolved_at": null,
                    "occurrences": 12,
                    "users": 3,
                    "handled_by": null,
                    "tried": ["restarted the pods", "asked the service again"],
                    "incident_id": "INC-20261124-0001",
                    "alert_id": null,
                    "url": "https://watch.example.com/api/incidents/INC-20261124-0001",
                }],
            },
        })
    );
    let request = &requests(&server).await[0];
    assert_eq!(header(request, "content-type"), "application/json");
    assert_eq!(header(request, "webhook-id"), "01900000-0000-7000-8000-000000000001");
    let timestamp: i64 = header(request, "webhook-timestamp").parse().unwrap();
    assert!((Utc::now().timestamp() - timestamp).abs() < 60, "{timestamp}");
    let body = std::str::from_utf8(&request.body).unwrap();
    let key = SigningKey::parse(&SecretString::from(SECRET)).unwrap();
    assert_eq!(header(request, "webhook-signature"), key.sign(header(request, "webhook-id"), timestamp, body));
}

#[tokio::test]
async fn every_answer_is_judged() {
    judges_every_answer(&delivery("webhook", NotificationKind::Firing), config).await;
}

#[tokio::test]
async fn an_address_that_the_answer_repeats_is_not_shown() {
    let answer = ResponseTemplate::new(404).set_body_string("<pre>Cannot POST /hooks/SECRETPATH</pre>\r\n");
    let server = answering(answer).await;
    let refused = send(&config(&server.uri()), &delivery("webhook", NotificationKind::Firing)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the webhook answered 404: <pre>Cannot POST /hooks/[hidden]</pre>");
}

#[tokio::test]
async fn another_webhook_is_named_by_its_variables() {
    let server = answering(ResponseTemplate::new(200)).await;
    let url = format!("{}/audit", server.uri());
    let named = |secret: Option<&'static str>| {
        let url = url.clone();
        let named = Secrets::from_lookup(move |name| match name {
            "NOTIFY_WEBHOOK_URL_AUDIT" => Some(url.clone()),
            "NOTIFY_WEBHOOK_SECRET_AUDIT" => secret.map(str::to_owned),
            _ => None,
        });
        ChannelsConfig { named, ..config("http://127.0.0.1:9") }
    };
    let delivery = delivery("webhook:AUDIT", NotificationKind::Resolved);
    assert_eq!(outcome(&send(&named(Some(SECRET)), &delivery).await), ("sent", Some(200), None));
    assert_eq!(requests(&server).await[0].url.path(), "/audit");
    let refused = send(&named(None), &delivery).await.unwrap_err();
    assert_eq!(refused.to_string(), "NOTIFY_WEBHOOK_SECRET_AUDIT: it is not set");
    let unknown = crate::messages::delivery("webhook:OTHER", NotificationKind::Resolved);
    assert_eq!(outcome(&send(&named(Some(SECRET)), &unknown).await).0, "not configured");
}

#[tokio::test]
async fn an_answer_that_stalls_after_its_head_was_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 65_536];
            let _ = stream.read(&mut some).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
            open.push(stream);
        }
    });
    let channels = Channels::new(config(&uri)).unwrap();
    let sent = channels.send(&delivery("webhook", NotificationKind::Firing), Duration::from_secs(10)).await;
    assert_eq!(outcome(&sent), ("sent", Some(200), None));
}

//! What an error says is hostile: the same texts over every channel, to what reads them at the other end.

use notify::channel::email::SmtpServer;
use notify::channel::webhook::SigningKey;
use notify::channel::{
    Address, ChannelsConfig, Delivery, EmailConfig, EmailWay, SlackConfig, SmsConfig, WebhookConfig,
};
use notify::notification::NotificationKind;
use secrecy::SecretString;
use serde_json::json;
use url::form_urlencoded;
use wiremock::ResponseTemplate;

use crate::mail_server::{MailServer, header};
use crate::messages::delivery;
use crate::vendor::{answering, requests, send};

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "@everyone <!channel> <@U123> [x](http://evil.example)",
        "broken\r\nBcc: eve@evil.example\r\n\r\nHello",
        "nul \0 and \u{1b}[31m and \u{202e}gpj.exe",
        "<script>alert(1)</script>",
        "=?utf-8?b?PHNjcmlwdD4=?=",
        "",
        " \t ",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(1024 * 1024));
    texts.push("😀".repeat(1024 * 256));
    texts.extend((140..156).map(|length| format!("{}😀😀", "x".repeat(length))));
    texts
}

fn hostile(receiver: &str, text: &str) -> Delivery {
    let mut delivery = delivery(receiver, NotificationKind::Firing);
    let problem = &mut delivery.notification.problems[0];
    problem.title = text.to_owned();
    problem.message = Some(format!("{text}\n{text}"));
    problem.application = text.to_owned();
    problem.environment = text.to_owned();
    problem.service = Some(text.to_owned());
    problem.handled_by = Some(text.to_owned());
    problem.tried = vec![text.to_owned(); 3];
    delivery.notification.group = Some(text.to_owned());
    delivery.notification.remark = Some(text.to_owned());
    delivery
}

/// Every channel over HTTP, at this address.
fn config(uri: &str) -> ChannelsConfig {
    let address = || Address::parse(uri).unwrap();
    let secret = || SecretString::from("s");
    ChannelsConfig {
        slack: Some(SlackConfig::Webhook(address())),
        discord: Some(address()),
        email: Some(EmailConfig {
            from: "watch@example.com".to_owned(),
            to: vec!["ops@shop.example".to_owned()],
            way: EmailWay::SendGrid { key: secret(), api: address() },
        }),
        sms: Some(SmsConfig {
            account: "AC0".to_owned(),
            token: secret(),
            from: "+4915100000000".to_owned(),
            to: vec!["+4915112345678".to_owned()],
            api: address(),
            daily_limit: 1,
        }),
        pagerduty: Some(secret()),
        pagerduty_api: Some(address()),
        webhook: Some(WebhookConfig {
            url: address(),
            key: SigningKey::parse(&SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap(),
        }),
        ..ChannelsConfig::default()
    }
}

#[tokio::test]
async fn every_text_is_sent_and_stays_a_text() {
    let server = answering(ResponseTemplate::new(200)).await;
    let config = config(&server.uri());
    for text in texts() {
        for receiver in ["slack", "discord", "email", "sms", "pagerduty", "webhook"] {
            send(&config, &hostile(receiver, &text)).await.unwrap();
        }
    }
    for request in requests(&server).await {
        let body = String::from_utf8(request.body.clone()).unwrap();
        let (path, size) = (request.url.path(), body.len());
        match path {
            "/" if request.headers.contains_key("webhook-id") => {}
            "/" if body.contains("allowed_mentions") => {
                assert!(body.contains(r#""allowed_mentions":{"parse":[]}"#) && !body.contains(" @everyone"));
            }
            "/" => assert!(!body.contains("<!") && !body.contains("<@"), "{body}"),
            "/v3/mail/send" => {
                let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                let subject = body["subject"].as_str().unwrap();
                assert!(!subject.contains(['\r', '\n', '\0']) && !subject.is_empty(), "{subject:?}");
                assert!(!body["content"][1]["value"].as_str().unwrap().contains("<script"));
            }
            "/v2/enqueue" => assert!(size <= 512_000),
            _ => {
                let form: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
                assert_eq!(form.len(), 3);
                assert!(form[2].1.encode_utf16().count() <= 320 && !form[2].1.contains(char::is_control));
            }
        }
        // Only the signed webhook shows all, for programs.
        assert!(size < 100_000 || request.headers.contains_key("webhook-id"), "{path}: {size}");
    }
}

#[tokio::test]
async fn no_header_of_an_e_mail_comes_from_an_error() {
    let mut mail = MailServer::start(&json!({})).await;
    let server = SmtpServer::parse(&SecretString::from(format!("smtp://127.0.0.1:{}", mail.port()))).unwrap();
    let email = EmailConfig {
        from: "watch@example.com".to_owned(),
        to: vec!["ops@shop.example".to_owned()],
        way: EmailWay::Smtp(server),
    };
    let config = ChannelsConfig { email: Some(email), ..ChannelsConfig::default() };
    for text in texts() {
        send(&config, &hostile("email", &text)).await.unwrap();
        let taken = mail.taken().await;
        assert_eq!(taken["to"], json!(["ops@shop.example"]));
        let names: Vec<_> =
            taken["headers"].as_array().unwrap().iter().map(|header| header[0].as_str().unwrap()).collect();
        assert!(!names.contains(&"bcc") && names.len() == 10, "{names:?}");
        let subject = header(&taken, "subject");
        assert!(subject.starts_with("[CRITICAL] ") && subject.encode_utf16().count() <= 200, "{subject:?}");
        assert!(!taken["parts"]["text/html"].as_str().unwrap().contains("<script"), "{taken}");
    }
}

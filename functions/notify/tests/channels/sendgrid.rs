//! E-mail over SendGrid.

use notify::channel::{Address, ChannelsConfig, EmailConfig, EmailWay};
use notify::notification::NotificationKind;
use secrecy::SecretString;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::messages::delivery;
use crate::vendor::{answering, judges_every_answer, only_body, outcome, requests, send};

fn config(uri: &str) -> ChannelsConfig {
    let email = EmailConfig {
        from: "watch@example.com".to_owned(),
        to: vec!["ops@shop.example".to_owned(), "night@shop.example".to_owned()],
        way: EmailWay::SendGrid { key: SecretString::from("SG.SECRET"), api: Address::parse(uri).unwrap() },
    };
    ChannelsConfig { email: Some(email), ..ChannelsConfig::default() }
}

#[tokio::test]
async fn an_e_mail_is_handed_over_with_the_message_s_id() {
    let server = answering(ResponseTemplate::new(202).insert_header("x-message-id", "sg-1")).await;
    let sent =
        send(&config(&server.uri()), &delivery("email:ada@shop.example", NotificationKind::Firing)).await.unwrap();
    assert_eq!(sent.status, Some(202));
    let (subject, id) = (
        "[CRITICAL] TypeError: x is undefined — shop (production)",
        "<01900000-0000-7000-8000-000000000001@watchkeeper.example.com>",
    );
    assert_eq!(sent.remote, Some(json!({"subject": subject, "message_id": id})));
    let request = &requests(&server).await[0];
    assert_eq!(request.url.path(), "/v3/mail/send");
    assert_eq!(request.headers["authorization"], "Bearer SG.SECRET");
    let mut body = only_body(&server).await;
    let thread = body["headers"]["References"].clone();
    assert!(thread.as_str().unwrap().ends_with("@watchkeeper.example.com>") && thread != json!(id), "{thread}");
    let content = body["content"].take();
    assert_eq!(
        body,
        json!({
            "personalizations": [{"to": [{"email": "ada@shop.example"}]}],
            "from": {"email": "watch@example.com", "name": "Watchkeeper"},
            "subject": subject,
            "content": null,
            "headers": {"Message-ID": id, "In-Reply-To": thread, "References": thread, "Auto-Submitted": "auto-generated"},
            "custom_args": {"notification_id": "01900000-0000-7000-8000-000000000001"},
        })
    );
    assert_eq!((&content[0]["type"], &content[1]["type"]), (&json!("text/plain"), &json!("text/html")));
    assert_eq!(
        content[0]["value"],
        "\
[CRITICAL] TypeError: x is undefined

Where: shop (production), service payments-api
Since: 2026-11-24 01:50:00 UTC
How bad: CRITICAL, backend
Seen: 12 times, by 3 people
Tried: restarted the pods; asked the service again
Incident: INC-20261124-0001

TypeError: x is undefined at checkout (cart.js:12)

More: https://watch.example.com/api/incidents/INC-20261124-0001

-- 
Watchkeeper, 2026-11-24 02:03:04 UTC
"
    );
}

#[tokio::test]
async fn without_a_name_all_configured_addresses_are_notified() {
    let server = answering(ResponseTemplate::new(202)).await;
    send(&config(&server.uri()), &delivery("email", NotificationKind::Resolved)).await.unwrap();
    let body = only_body(&server).await;
    assert_eq!(
        body["personalizations"][0]["to"],
        json!([
            {"email": "ops@shop.example"},
            {"email": "night@shop.example"},
        ])
    );
    assert_eq!(body["subject"], "Resolved: TypeError: x is undefined — shop (production)");
}

#[tokio::test]
async fn messages_about_one_problem_are_one_thread() {
    let server = answering(ResponseTemplate::new(202)).await;
    let first = delivery("email", NotificationKind::Firing);
    let mut second = delivery("email", NotificationKind::Resolved);
    second.id = uuid::Uuid::from_u128(2);
    let mut other = delivery("email", NotificationKind::Firing);
    other.dedup_key = "another".to_owned();
    for delivery in [&first, &second, &other] {
        send(&config(&server.uri()), delivery).await.unwrap();
    }
    let headers: Vec<serde_json::Value> = requests(&server).await.iter().map(|it| it.body_json().unwrap()).collect();
    let header = |at: usize, name: &str| headers[at]["headers"][name].clone();
    assert_eq!(header(0, "References"), header(1, "References"));
    assert_ne!(header(0, "Message-ID"), header(1, "Message-ID"));
    assert_ne!(header(0, "References"), header(2, "References"));
}

#[tokio::test]
async fn every_answer_is_judged() {
    judges_every_answer(&delivery("email", NotificationKind::Firing), config).await;
    let answer = json!({"errors": [{"message": "The from address does not match a verified Sender Identity."}]});
    let server = answering(ResponseTemplate::new(403).set_body_json(answer)).await;
    let result = send(&config(&server.uri()), &delivery("email", NotificationKind::Firing)).await;
    assert_eq!(outcome(&result), ("refused", Some(403), None));
    assert!(result.unwrap_err().to_string().contains("verified Sender Identity"));
}

#[tokio::test]
async fn nothing_is_sent_without_a_recipient() {
    let mut config = config("http://127.0.0.1:9");
    config.email.as_mut().unwrap().to.clear();
    assert_eq!(outcome(&send(&config, &delivery("email", NotificationKind::Firing)).await).0, "not configured");
}

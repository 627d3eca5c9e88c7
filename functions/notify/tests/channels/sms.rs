//! Text messages, over Twilio.

use notify::channel::{Address, ChannelsConfig, SmsConfig};
use notify::notification::NotificationKind;
use secrecy::SecretString;
use serde_json::json;
use url::form_urlencoded;
use wiremock::ResponseTemplate;

use crate::messages::{delivery, problem};
use crate::vendor::{answering, judges_every_answer, outcome, requests, send};

fn config(uri: &str) -> ChannelsConfig {
    let sms = SmsConfig {
        account: "AC0123".to_owned(),
        token: SecretString::from("tokenSECRET"),
        from: "+4915100000000".to_owned(),
        to: vec!["+4915112345678".to_owned()],
        api: Address::parse(uri).unwrap(),
        daily_limit: SmsConfig::DAILY_LIMIT,
    };
    ChannelsConfig { sms: Some(sms), ..ChannelsConfig::default() }
}

fn taken() -> ResponseTemplate {
    ResponseTemplate::new(201).set_body_json(json!({"sid": "SM01", "status": "queued", "num_segments": "1"}))
}

#[tokio::test]
async fn a_message_says_how_bad_what_where_and_more() {
    for (receiver, to) in [("sms", "+4915112345678"), ("sms:+12025550123", "+12025550123")] {
        let server = answering(taken()).await;
        let sent = send(&config(&server.uri()), &delivery(receiver, NotificationKind::Firing)).await.unwrap();
        assert_eq!((sent.status, sent.remote), (Some(201), Some(json!({"sid": "SM01"}))));
        let request = &requests(&server).await[0];
        assert_eq!(request.url.path(), "/2010-04-01/Accounts/AC0123/Messages.json");
        // AC0123:tokenSECRET
        assert_eq!(request.headers["authorization"], "Basic QUMwMTIzOnRva2VuU0VDUkVU");
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        let form: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
        let text = "[CRITICAL] TypeError: x is undefined: shop (production), service payments-api \
                    https://watch.example.com/api/incidents/INC-20261124-0001";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(form, [pair("To", to), pair("From", "+4915100000000"), pair("Body", text)]);
    }
}

#[tokio::test]
async fn a_messaging_service_sends_too() {
    let server = answering(taken()).await;
    let mut config = config(&server.uri());
    let service = "MG0123456789abcdef0123456789abcdef";
    config.sms.as_mut().unwrap().from = service.to_owned();
    send(&config, &delivery("sms", NotificationKind::Firing)).await.unwrap();
    let form: Vec<_> = form_urlencoded::parse(&requests(&server).await[0].body).into_owned().collect();
    assert_eq!(form[1], ("MessagingServiceSid".to_owned(), service.to_owned()));
}

#[test]
fn a_message_is_never_longer_than_three_parts() {
    for title in ["x".repeat(1_000_000), "😀".repeat(10_000), "漢字".repeat(10_000), "[]{}".repeat(1_000)] {
        let mut notification = crate::messages::notification(NotificationKind::Firing);
        notification.problems[0].title = title;
        let text = notify::channel::sms::text(&notification);
        assert!(text.chars().count() <= 320 && text.encode_utf16().count() <= 320, "{text}");
        assert!(text.ends_with("... https://watch.example.com/api/incidents/INC-20261124-0001"), "{text}");
    }
    let mut notification = crate::messages::notification(NotificationKind::Digest);
    notification.problems = vec![problem(); 3];
    assert_eq!(
        notify::channel::sms::text(&notification),
        "[CRITICAL] Many at once: 3 problems https://watch.example.com/api/incidents/INC-20261124-0001"
    );
}

#[tokio::test]
async fn twilio_s_own_words_are_shown() {
    for (status, code, message, word) in [
        (400, 21_211, "The 'To' number is not a valid phone number.", "refused"),
        (400, 21_610, "Attempt to send to unsubscribed recipient", "refused"),
        (400, 21_614, "'To' number is not a valid mobile number", "refused"),
        (400, 21_611, "This 'From' number has exceeded the maximum number of queued messages", "later"),
        (401, 20_003, "Authenticate", "refused"),
        (429, 20_429, "Too Many Requests", "later"),
    ] {
        let body = json!({"code": code, "message": message, "more_info": "https://…", "status": status});
        let server = answering(ResponseTemplate::new(status).set_body_json(body)).await;
        let result = send(&config(&server.uri()), &delivery("sms", NotificationKind::Firing)).await;
        assert_eq!(outcome(&result), (word, Some(status), None), "{result:?}");
        if word == "refused" {
            assert_eq!(result.unwrap_err().to_string(), format!("Twilio answered {status}: {code} {message}"));
        }
    }
}

#[tokio::test]
async fn several_numbers_are_receivers_of_their_own() {
    let mut config = config("http://127.0.0.1:9");
    config.sms.as_mut().unwrap().to.push("+12025550123".to_owned());
    assert_eq!(outcome(&send(&config, &delivery("sms", NotificationKind::Firing)).await).0, "refused");
    config.sms.as_mut().unwrap().to.clear();
    assert_eq!(outcome(&send(&config, &delivery("sms", NotificationKind::Firing)).await).0, "not configured");
}

#[tokio::test]
async fn every_answer_is_judged() {
    judges_every_answer(&delivery("sms", NotificationKind::Firing), config).await;
}

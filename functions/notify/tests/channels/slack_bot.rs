//! Slack as a bot: the message in place, its thread, its buttons, and Slack's own words for what went wrong.

use notify::channel::{Address, ChannelsConfig, Delivery, SlackConfig};
use notify::notification::NotificationKind;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::messages::{delivery, problem, resolved_problem};
use crate::vendor::{answering, judges_every_answer, only_body, outcome, requests, send};

fn config(uri: &str) -> ChannelsConfig {
    let slack = SlackConfig::Bot {
        token: SecretString::from("xoxb-SECRET"),
        channel: "#ops".to_owned(),
        api: Address::parse(&format!("{uri}/api")).unwrap(),
    };
    ChannelsConfig { slack: Some(slack), ..ChannelsConfig::default() }
}

fn said(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn posted() -> ResponseTemplate {
    said(json!({"ok": true, "channel": "C024BE91L", "ts": "1795485784.000100", "message": {"text": "…"}}))
}

fn later(kind: NotificationKind) -> Delivery {
    Delivery { earlier: Some(json!({"channel": "C024BE91L", "ts": "1795485784.000100"})), ..delivery("slack", kind) }
}

/// A Slack that answers its methods so.
async fn slack(answers: &[(&str, ResponseTemplate)]) -> MockServer {
    let server = MockServer::start().await;
    for (method, answer) in answers {
        Mock::given(path(format!("/api/{method}"))).respond_with(answer.clone()).mount(&server).await;
    }
    server
}

/// What it was asked: the methods, and their bodies.
async fn calls(server: &MockServer) -> Vec<(String, Value)> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    requests(server).await.iter().map(|it| (name(it.url.path()), it.body_json().unwrap())).collect()
}

#[tokio::test]
async fn the_first_message_has_buttons_and_its_name_is_kept() {
    let server = answering(posted()).await;
    let sent = send(&config(&server.uri()), &delivery("slack", NotificationKind::Firing)).await.unwrap();
    assert_eq!(sent.status, Some(200));
    assert_eq!(sent.remote, Some(json!({"channel": "C024BE91L", "ts": "1795485784.000100"})));
    let request = &requests(&server).await[0];
    assert_eq!(request.url.path(), "/api/chat.postMessage");
    assert_eq!(request.headers["authorization"], "Bearer xoxb-SECRET");
    assert_eq!(request.headers["content-type"], "application/json; charset=utf-8");
    let body = only_body(&server).await;
    assert_eq!(body["channel"], "#ops");
    assert_eq!(
        body["metadata"],
        json!({
            "event_type": "watchkeeper_notice",
            "event_payload": {"id": "01900000-0000-7000-8000-000000000001", "dedup_key": "watchkeeper/INC-20261124-0001"},
        })
    );
    let plain = |text: &str| json!({"type": "plain_text", "text": text, "emoji": false});
    assert_eq!(
        body["blocks"].as_array().unwrap().last().unwrap(),
        &json!({
            "type": "actions",
            "elements": [
                {
                    "type": "button",
                    "action_id": "acknowledge",
                    "text": plain("Acknowledge"),
                    "value": "INC-20261124-0001",
                    "style": "primary",
                },
                {"type": "button", "action_id": "resolve", "text": plain("Resolve"), "value": "INC-20261124-0001"},
            ],
        })
    );
}

#[tokio::test]
async fn where_the_first_message_s_channel_is_closed_the_next_is_a_new_one() {
    for (update, reply) in [
        (Some("is_archived"), None),
        (Some("is_inactive"), None),
        (Some("channel_not_found"), None),
        (Some("not_in_channel"), None),
        (None, Some("cannot_reply_to_message")),
    ] {
        let refused =
            |error: Option<&str>| error.map_or_else(posted, |error| said(json!({"ok": false, "error": error})));
        let server = MockServer::start().await;
        Mock::given(path("/api/chat.update")).respond_with(refused(update)).mount(&server).await;
        let reply = Mock::given(path("/api/chat.postMessage"))
            .and(|request: &wiremock::Request| {
                request.body_json::<Value>().is_ok_and(|body| body["thread_ts"].is_string())
            })
            .respond_with(refused(reply));
        reply.with_priority(1).mount(&server).await;
        Mock::given(path("/api/chat.postMessage")).respond_with(posted()).mount(&server).await;
        send(&config(&server.uri()), &later(NotificationKind::Resolved)).await.unwrap();
        let calls = calls(&server).await;
        let (method, body) = calls.last().unwrap();
        assert_eq!(
            (method.as_str(), &body["channel"], &body["thread_ts"]),
            ("chat.postMessage", &json!("#ops"), &Value::Null)
        );
        assert_eq!(calls[0].1["parse"], "none");
    }
    // Of a new message the same words are the end, in Slack's words.
    let server = answering(said(json!({"ok": false, "error": "is_archived"}))).await;
    let error = send(&config(&server.uri()), &delivery("slack", NotificationKind::Firing)).await.unwrap_err();
    assert_eq!(error.to_string(), "Slack refuses chat.postMessage: is_archived");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_after_its_yes_was_a_yes() {
    let server = answering(ResponseTemplate::new(200).set_body_string(r#"{"ok":true,"channel":"C0"#)).await;
    let sent = send(&config(&server.uri()), &delivery("slack", NotificationKind::Firing)).await.unwrap();
    assert_eq!((sent.status, sent.remote), (Some(200), None));
}

#[tokio::test]
async fn buttons_are_there_for_one_problem_that_is_not_over() {
    let actions = async |change: &dyn Fn(&mut Delivery)| {
        let server = answering(posted()).await;
        let mut delivery = delivery("slack:#payments", NotificationKind::Firing);
        change(&mut delivery);
        send(&config(&server.uri()), &delivery).await.unwrap();
        let body = only_body(&server).await;
        assert_eq!(body["channel"], "#payments");
        let buttons = body["blocks"].as_array().unwrap().iter().find(|it| it["type"] == "actions").cloned();
        let all = buttons.map(|it| it["elements"].as_array().unwrap().clone()).unwrap_or_default();
        all.iter().map(|it| format!("{} {}", it["action_id"], it["value"]).replace('"', "")).collect::<Vec<_>>()
    };
    let alert = Uuid::from_u128(7);
    assert_eq!(
        actions(&|it| it.notification = crate::messages::notification(NotificationKind::Acknowledged)).await,
        ["resolve INC-20261124-0001"]
    );
    assert_eq!(
        actions(&|it| it.notification = crate::messages::notification(NotificationKind::Resolved)).await,
        [""; 0]
    );
    assert_eq!(actions(&|it| it.notification.problems.push(problem())).await, [""; 0]);
    assert_eq!(actions(&|it| it.notification.more = 1).await, [""; 0]);
    let alone = |it: &mut Delivery| {
        (it.notification.problems[0].incident_id, it.notification.problems[0].alert_id) = (None, Some(alert))
    };
    assert_eq!(actions(&alone).await, [format!("acknowledge alert:{alert}"), format!("resolve alert:{alert}")]);
}

#[tokio::test]
async fn a_later_message_changes_the_first_and_says_in_its_thread_what_is_new() {
    for (kind, header, news, is_for_all) in [
        (NotificationKind::Acknowledged, "Acknowledged: TypeError: x is undefined", ", by Ada", false),
        (NotificationKind::Resolved, "Resolved: TypeError: x is undefined", ", after 12 min, handled by Ada", false),
        (NotificationKind::Firing, "[CRITICAL] TypeError: x is undefined", ", 12 times, by 3 people", true),
        (NotificationKind::Repeat, "[CRITICAL] Still open: TypeError: x is undefined", ", 12 times, by 3 people", true),
        (
            NotificationKind::Escalated,
            "[CRITICAL] Escalated: TypeError: x is undefined",
            ", 12 times, by 3 people",
            true,
        ),
        (NotificationKind::Heal, "[CRITICAL] Repair: TypeError: x is undefined", ", 12 times, by 3 people", false),
    ] {
        let server = slack(&[("chat.update", posted()), ("chat.postMessage", posted())]).await;
        let sent = send(&config(&server.uri()), &later(kind)).await.unwrap();
        assert_eq!(sent.remote, Some(json!({"channel": "C024BE91L", "ts": "1795485784.000100"})));
        let calls = calls(&server).await;
        let [(first, update), (second, reply)] = calls.as_slice() else { panic!("{calls:?}") };
        assert_eq!((first.as_str(), second.as_str()), ("chat.update", "chat.postMessage"));
        assert_eq!((&update["channel"], &update["ts"]), (&json!("C024BE91L"), &json!("1795485784.000100")));
        assert_eq!(update["blocks"][0]["text"]["text"], header);
        assert_eq!((&reply["channel"], &reply["thread_ts"]), (&json!("C024BE91L"), &json!("1795485784.000100")));
        assert_eq!(reply["reply_broadcast"], is_for_all);
        let text = reply["blocks"][0]["text"]["text"].as_str().unwrap();
        let place = ", shop (production), service payments-api";
        assert_eq!(text, format!("{}{place}{news}", header.trim_start_matches("[CRITICAL] ")));
    }
}

#[tokio::test]
async fn what_is_new_of_several_names_the_worst() {
    let server = slack(&[("chat.update", posted()), ("chat.postMessage", posted())]).await;
    let mut delivery = later(NotificationKind::Resolved);
    delivery.notification.problems = vec![problem(), problem(), resolved_problem(), resolved_problem()];
    delivery.notification.group = Some("application shop".to_owned());
    send(&config(&server.uri()), &delivery).await.unwrap();
    let calls = calls(&server).await;
    let title = "TypeError: x is undefined";
    assert_eq!(
        calls[1].1["blocks"][0]["text"]["text"],
        format!(
            "Resolved in part: 4 problems (application shop); [CRITICAL] {title}; [CRITICAL] {title}; [resolved] {title}"
        )
    );
}

#[tokio::test]
async fn a_notification_of_a_part_of_a_group_does_not_change_the_message() {
    let slack = slack(&[("chat.update", posted()), ("chat.postMessage", posted())]).await;
    let mut delivery = later(NotificationKind::Acknowledged);
    delivery.notification.is_part = true;
    send(&config(&slack.uri()), &delivery).await.unwrap();
    let calls = calls(&slack).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].0, "chat.postMessage");
    assert_eq!(calls[0].1["thread_ts"], "1795485784.000100");
}

#[tokio::test]
async fn a_message_that_is_gone_is_written_anew() {
    let gone = said(json!({"ok": false, "error": "message_not_found"}));
    let server = slack(&[("chat.update", gone), ("chat.postMessage", posted())]).await;
    let sent = send(&config(&server.uri()), &later(NotificationKind::Resolved)).await.unwrap();
    assert!(sent.remote.is_some());
    let calls = calls(&server).await;
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[1].0.as_str(), &calls[1].1["thread_ts"]), ("chat.postMessage", &Value::Null));
}

#[tokio::test]
async fn a_digest_changes_no_message() {
    for kind in [NotificationKind::Digest, NotificationKind::Summary] {
        let server = slack(&[("chat.postMessage", posted())]).await;
        send(&config(&server.uri()), &later(kind)).await.unwrap();
        assert_eq!(calls(&server).await.len(), 1);
    }
}

#[tokio::test]
async fn slack_s_own_words_decide_about_a_retry() {
    for (error, word) in [
        ("ratelimited", "later"),
        ("internal_error", "later"),
        ("fatal_error", "later"),
        ("service_unavailable", "later"),
        ("request_timeout", "later"),
        ("channel_not_found", "refused"),
        ("invalid_auth", "refused"),
        ("not_in_channel", "refused"),
        ("is_archived", "refused"),
        ("message_not_found", "refused"),
    ] {
        let server = answering(said(json!({"ok": false, "error": error})).insert_header("retry-after", "9")).await;
        let result = send(&config(&server.uri()), &delivery("slack", NotificationKind::Firing)).await;
        let (result_word, status, after) = outcome(&result);
        assert_eq!((result_word, status, after), (word, Some(200), (word == "later").then_some(9)), "{result:?}");
    }
    let server = answering(ResponseTemplate::new(200).set_body_string("<html>a portal</html>")).await;
    assert_eq!(outcome(&send(&config(&server.uri()), &delivery("slack", NotificationKind::Firing)).await).0, "later");
}

#[tokio::test]
async fn every_answer_is_judged() {
    judges_every_answer(&delivery("slack", NotificationKind::Firing), config).await;
    judges_every_answer(&later(NotificationKind::Resolved), config).await;
}

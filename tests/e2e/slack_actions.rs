//! `POST /webhooks/slack`: a click on a button is applied once, and only if Slack has signed it.

use chrono::Utc;
use harness::{Answer, Database, TestStack};
use local::stack::VendorsConfig;
use secrecy::SecretString;
use serde_json::{Value, json};
use slack_actions::signature::sign;
use url::form_urlencoded;

use crate::notify::inbox::Inbox;
use crate::notify::{app, batch, of_incident};
use crate::operators::{alert, audit, events, incident, with_alert, with_incident};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

async fn stack_on(database: Database) -> TestStack {
    let vendors = VendorsConfig { slack: Some(SecretString::from(SECRET)), ..VendorsConfig::default() };
    TestStack::builder().vendors(vendors).start(database).await
}

/// A click on a button, as Slack sends it.
fn payload(action: &str, value: &str) -> Value {
    let mut payload: Value =
        serde_json::from_str(include_str!("../../functions/slack-actions/fixtures/block-actions.json")).unwrap();
    payload["actions"][0]["action_id"] = action.into();
    payload["actions"][0]["value"] = value.into();
    payload
}

fn form(payload: &Value) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish()
}

/// Sends a form as Slack does, signed with this secret at this time.
async fn send(stack: &TestStack, form: &str, secret: &str, at: i64) -> Answer {
    let (secret, at) = (SecretString::from(secret), at.to_string());
    let request = stack
        .request("POST", "/webhooks/slack")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-slack-request-timestamp", &at)
        .header("x-slack-signature", sign(&secret, &at, form.as_bytes()));
    stack.send(request.body(form.to_owned())).await
}

async fn click(stack: &TestStack, payload: &Value) -> u16 {
    send(stack, &form(payload), SECRET, Utc::now().timestamp()).await.status
}

#[tokio::test]
async fn a_click_acknowledges_the_incident_in_the_name_of_the_person() {
    let (database, id) = with_incident().await;
    let stack = stack_on(database).await;
    let answer = send(&stack, &form(&payload("acknowledge", "INC-HEALTH-1")), SECRET, Utc::now().timestamp()).await;
    assert_eq!((answer.status, &answer.body), (200, &Value::Null), "Slack would show a body");
    assert_eq!(incident(&stack.database).await, ("acknowledged".to_owned(), Some("slack:ann".to_owned())));
    assert_eq!(alert(&stack.database, id).await, ("acknowledged".to_owned(), false));
    let published = events(&stack.database).await;
    assert_eq!((published.len(), published[0].0.as_str()), (1, "IncidentAcknowledged"));
    assert_eq!(audit(&stack.database).await[0].1, "Acknowledged by slack:ann");
}

#[tokio::test]
async fn a_click_on_a_button_that_notify_drew_acknowledges_the_incident() {
    let (database, _) = with_incident().await;
    let slack = Inbox::open().await;
    let bot = [
        ("SLACK_BOT_TOKEN", "xoxb-1".to_owned()),
        ("SLACK_CHANNEL", "#ops".to_owned()),
        ("SLACK_API_URL", slack.url("")),
    ];
    let opened = of_incident("IncidentOpened", "INC-HEALTH-1");
    notify::handle(&app(&database, &bot), batch(&[opened])).await;
    let blocks = slack.got()[0].body["blocks"].clone();
    let actions = blocks.as_array().unwrap().iter().find(|block| block["type"] == "actions").unwrap();
    let mut payload = payload("", "");
    payload["actions"] = json!([actions["elements"][0]]);
    payload["actions"][0]["action_ts"] = "1795521600.123456".into();
    let stack = stack_on(database).await;
    assert_eq!(click(&stack, &payload).await, 200);
    assert_eq!(incident(&stack.database).await, ("acknowledged".to_owned(), Some("slack:ann".to_owned())));
}

#[tokio::test]
async fn a_redelivered_click_is_applied_once_even_after_the_incident_reopened() {
    let (database, _) = with_incident().await;
    let stack = stack_on(database).await;
    let resolve = payload("resolve", "incident:INC-HEALTH-1");
    assert_eq!(click(&stack, &resolve).await, 200);
    stack.database.execute("UPDATE incidents SET status = 'detected', resolved_at = NULL").await;
    assert_eq!(click(&stack, &resolve).await, 200);
    assert_eq!(incident(&stack.database).await.0, "detected", "the old click does not resolve the new outage");
    assert_eq!(events(&stack.database).await.len(), 1);
    let mut another = resolve;
    another["actions"][0]["action_ts"] = "1795521999.000001".into();
    assert_eq!(click(&stack, &another).await, 200);
    assert_eq!(incident(&stack.database).await.0, "resolved");
}

#[tokio::test]
async fn several_actions_of_one_request_are_all_applied() {
    let (database, _) = with_incident().await;
    let alone = with_alert(&database, "mail").await;
    let stack = stack_on(database).await;
    let mut both = payload("acknowledge", "INC-HEALTH-1");
    let mut second = both["actions"][0].clone();
    second["value"] = format!("alert:{alone}").into();
    let link = json!({"type": "button", "action_id": "open", "url": "https://example.com"});
    both["actions"].as_array_mut().unwrap().extend([link, second]);
    assert_eq!(click(&stack, &both).await, 200);
    assert_eq!(alert(&stack.database, alone).await.0, "acknowledged");
    let mut published: Vec<String> = events(&stack.database).await.into_iter().map(|(what, _)| what).collect();
    published.sort();
    assert_eq!(published, ["AlertAcknowledged", "IncidentAcknowledged"]);
}

#[tokio::test]
async fn actions_that_do_not_concern_us_are_ignored() {
    let (database, _) = with_incident().await;
    let stack = stack_on(database).await;
    for payload in [
        payload("open", "INC-HEALTH-1"),
        payload("acknowledge", "INC-UNKNOWN"),
        payload("acknowledge", "no id at all"),
        json!({"type": "view_submission"}),
        json!([]),
    ] {
        assert_eq!(click(&stack, &payload).await, 200, "{payload}");
    }
    for form in ["ssl_check=1&token=abc", ""] {
        assert_eq!(send(&stack, form, SECRET, Utc::now().timestamp()).await.status, 200, "{form}");
    }
    assert_eq!(send(&stack, "payload={", SECRET, Utc::now().timestamp()).await.status, 400);
    // A resolved incident stays resolved.
    click(&stack, &payload("resolve", "INC-HEALTH-1")).await;
    assert_eq!(click(&stack, &payload("acknowledge", "INC-HEALTH-1")).await, 200);
    assert_eq!((incident(&stack.database).await.0.as_str(), events(&stack.database).await.len()), ("resolved", 1));
}

#[tokio::test]
async fn unsigned_and_outdated_requests_are_refused_and_recorded() {
    let (database, _) = with_incident().await;
    let stack = stack_on(database).await;
    let (now, form) = (Utc::now().timestamp(), form(&payload("acknowledge", "INC-HEALTH-1")));
    for (secret, at) in [("another secret", now), (SECRET, now - 400), (SECRET, now + 400)] {
        assert_eq!(send(&stack, &form, secret, at).await.status, 401, "{secret} {}", at - now);
    }
    let at = now.to_string();
    let right = sign(&SecretString::from(SECRET), &at, form.as_bytes());
    for (signature, timestamp, body) in [
        (None, Some(&at), &form),
        (Some(&right), None, &form),
        (Some(&right), Some(&at), &form.replacen("acknowledge", "resolve", 1)),
        (Some(&right), Some(&(now - 1).to_string()), &form),
        (Some(&right[3..].to_owned()), Some(&at), &form),
    ] {
        let mut request = stack.request("POST", "/webhooks/slack").body(body.clone());
        if let Some(signature) = signature {
            request = request.header("x-slack-signature", signature);
        }
        if let Some(timestamp) = timestamp {
            request = request.header("x-slack-request-timestamp", timestamp);
        }
        assert_eq!(stack.send(request).await.status, 401, "{signature:?} {timestamp:?}");
    }
    assert_eq!(send(&stack, &"x".repeat(1024 * 1024 + 1), SECRET, now).await.status, 413);
    assert_eq!(incident(&stack.database).await.0, "detected");
    let database = stack.stop().await;
    let sql = "SELECT DISTINCT event_type::text FROM security_events ORDER BY 1";
    let noted: Vec<String> = database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(noted, ["bad_signature", "oversized_body"]);
}

#[tokio::test]
async fn without_a_secret_the_route_is_closed() {
    let (database, _) = with_incident().await;
    let stack = TestStack::builder().start(database).await;
    assert_eq!(click(&stack, &payload("acknowledge", "INC-HEALTH-1")).await, 401);
    assert_eq!(incident(&stack.database).await.0, "detected");
}

#[tokio::test]
async fn without_a_database_a_click_is_answered_with_503() {
    let nowhere = "postgresql://u:p@127.0.0.1:9/none?sslmode=disable".to_owned();
    let vendors = VendorsConfig { slack: Some(SecretString::from(SECRET)), ..VendorsConfig::default() };
    let builder = TestStack::builder().vendors(vendors).database_url(nowhere);
    let stack = builder.start(Database::empty().await).await;
    assert_eq!(click(&stack, &payload("acknowledge", "INC-HEALTH-1")).await, 503);
}

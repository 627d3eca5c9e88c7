//! `POST /webhooks/sentry`.

use harness::{Answer, Database, TestStack};
use secrecy::SecretString;
use sentry_webhook::signature::sign;
use serde_json::{Value, json};

const SECRET: &str = "test_secret";
const ERROR: &str = include_str!("../../functions/sentry-webhook/fixtures/error-created.json");
const EVENT_ALERT: &str = include_str!("../../functions/sentry-webhook/fixtures/event-alert-triggered.json");
const ISSUE: &str = include_str!("../../functions/sentry-webhook/fixtures/issue-created.json");
const METRIC_ALERT: &str = include_str!("../../functions/sentry-webhook/fixtures/metric-alert-critical.json");

async fn stack() -> TestStack {
    TestStack::builder().sentry_secret(SECRET).start(Database::migrated().await).await
}

/// Sends a body as Sentry does: signed, with its resource.
fn webhook(stack: &TestStack, resource: &str, body: &str) -> reqwest::RequestBuilder {
    stack
        .request("POST", "/webhooks/sentry")
        .header("content-type", "application/json")
        .header("request-id", uuid::Uuid::new_v4().simple().to_string())
        .header("sentry-hook-resource", resource)
        .header("sentry-hook-timestamp", "1795425303")
        .header("sentry-hook-signature", sign(&SecretString::from(SECRET), body.as_bytes()))
        .body(body.to_owned())
}

async fn deliver(stack: &TestStack, resource: &str, body: &str) -> Answer {
    stack.send(webhook(stack, resource, body)).await
}

fn changed(body: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::from_str(body).unwrap();
    change(&mut value);
    value.to_string()
}

async fn occurrences(stack: &TestStack) -> Vec<i64> {
    let rows = stack.database.rows("SELECT occurrences FROM incidents ORDER BY detected_at", &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_error_becomes_an_incident_with_all_that_sentry_tells() {
    let stack = stack().await;
    let answer = deliver(&stack, "error", ERROR).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!((&answer.body["created"], answer.text("severity")), (&json!(true), "HIGH"));
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!(incident["title"], "TypeError: Cannot read property 'total' of undefined");
    assert_eq!(incident["error_type"], "TypeError");
    assert_eq!((&incident["application"], &incident["environment"]), (&json!("shop-web"), &json!("production")));
    assert_eq!(
        incident["stack_trace"],
        "TypeError: Cannot read property 'total' of undefined\n    at pay (./app/checkout.js:42:17)\n    \
         at dispatch (./node_modules/react-dom/index.js:1:100)\nCaused by: RangeError: amount out of range\n    \
         at validate (./app/money.js:12:3)"
    );
    assert_eq!(incident["context"]["release"], "shop@2.4.1");
    assert_eq!(incident["context"]["level"], "error");
    assert_eq!(
        incident["context"]["sentry_url"],
        "https://acme.sentry.io/issues/4711/events/e4874d664c3540c1a32eab185f12c5ab/"
    );
    assert!(!incident.to_string().contains("203.0.113.9"), "a user's address is not kept");
}

#[tokio::test]
async fn a_metric_alert_becomes_an_incident_and_a_step_of_it_stays_in_it() {
    let stack = stack().await;
    let warning = changed(METRIC_ALERT, |it| it["action"] = json!("warning"));
    let first = deliver(&stack, "metric_alert", &warning).await;
    assert_eq!((first.status, first.text("severity")), (200, "MEDIUM"));
    let second = deliver(&stack, "metric_alert", METRIC_ALERT).await;
    assert_eq!((second.text("severity"), second.text("incident_id")), ("CRITICAL", first.text("incident_id")));
    let incident = stack.get(&format!("/api/incidents/{}", first.text("incident_id"))).await.body;
    assert_eq!((&incident["title"], &incident["severity"]), (&json!("Too many failed checkouts"), &json!("CRITICAL")));
    assert_eq!((&incident["application"], &incident["environment"]), (&json!("shop-web"), &json!("production")));
    let resolved = changed(METRIC_ALERT, |it| it["action"] = json!("resolved"));
    assert!(deliver(&stack, "metric_alert", &resolved).await.body["ignored"].is_string());
}

#[tokio::test]
async fn error_and_event_alert_of_one_event_are_one_delivery() {
    let stack = stack().await;
    let first = deliver(&stack, "error", ERROR).await;
    let second = deliver(&stack, "event_alert", EVENT_ALERT).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert_eq!(occurrences(&stack).await, [1]);
}

#[tokio::test]
async fn an_issue_and_its_first_event_count_one_in_either_order() {
    for issue_first in [true, false] {
        let stack = stack().await;
        let deliveries = [("issue", ISSUE), ("error", ERROR)];
        let order = if issue_first { [0, 1] } else { [1, 0] };
        let mut ids = Vec::new();
        for index in order {
            let (resource, body) = deliveries[index];
            let answer = deliver(&stack, resource, body).await;
            ids.push((answer.text("incident_id").to_owned(), answer.body["created"].clone()));
        }
        assert_eq!(ids[0].0, ids[1].0);
        assert_eq!((&ids[0].1, &ids[1].1), (&json!(true), &json!(false)));
        assert_eq!(occurrences(&stack).await, [1], "issue first: {issue_first}");
        let another = changed(ERROR, |it| it["data"]["error"]["event_id"] = json!("f".repeat(32)));
        deliver(&stack, "error", &another).await;
        assert_eq!(occurrences(&stack).await, [2]);
    }
}

#[tokio::test]
async fn the_first_report_of_an_announced_issue_tells_what_the_announcement_did_not() {
    let stack = stack().await;
    let staging = changed(ERROR, |it| it["data"]["error"]["environment"] = json!("staging"));
    let id = deliver(&stack, "issue", ISSUE).await.text("incident_id").to_owned();
    deliver(&stack, "error", &staging).await;
    let incident = stack.get(&format!("/api/incidents/{id}")).await.body;
    assert_eq!((&incident["environment"], &incident["context"]["release"]), (&json!("staging"), &json!("shop@2.4.1")));
    assert!(incident["stack_trace"].as_str().unwrap().contains("checkout.js:42"));
    assert_eq!(incident["context"]["sentry_short_id"], "SHOP-WEB-1A", "what the announcement told stays");
}

#[tokio::test]
async fn a_late_announcement_of_an_issue_that_is_over_opens_nothing() {
    let stack = stack().await;
    let first = deliver(&stack, "error", ERROR).await;
    stack.database.execute("UPDATE incidents SET status = 'resolved'").await;
    let late = deliver(&stack, "issue", ISSUE).await;
    assert_eq!((&late.body["created"], late.text("incident_id")), (&json!(false), first.text("incident_id")));
    assert_eq!(stack.database.count("incidents").await, 1);
    let again = changed(ERROR, |it| it["data"]["error"]["event_id"] = json!("a".repeat(32)));
    assert_eq!(deliver(&stack, "error", &again).await.body["created"], true, "a new event of it does");
}

#[tokio::test]
async fn an_issue_stays_one_incident_when_its_project_is_renamed() {
    let stack = stack().await;
    let renamed = changed(ERROR, |it| {
        let event = &mut it["data"]["error"];
        event["event_id"] = json!("b".repeat(32));
        event["url"] = json!("https://sentry.io/api/0/projects/acme/web-shop/events/b/");
    });
    deliver(&stack, "error", ERROR).await;
    assert_eq!(deliver(&stack, "error", &renamed).await.body["created"], false);
    assert_eq!(occurrences(&stack).await, [2]);
}

#[tokio::test]
async fn the_same_event_id_in_another_project_is_another_event() {
    let stack = stack().await;
    let other = changed(ERROR, |it| {
        it["data"]["error"]["project"] = json!(2);
        it["data"]["error"]["issue_id"] = json!("4712");
    });
    for body in [ERROR, &other] {
        assert_eq!(deliver(&stack, "error", body).await.body["created"], true);
    }
}

#[tokio::test]
async fn who_a_user_is_and_what_an_address_carries_is_not_kept() {
    let stack = stack().await;
    let body = changed(ERROR, |it| {
        it["data"]["error"]["tags"] = json!([
            ["user", "email:ann@example.com"],
            ["sentry:user", "ip:198.51.100.4"],
            ["user.email", "ann@example.com"],
            ["url", "https://shop.example.com/pay?token=SECRET#SECRET"],
            ["tenant", "acme"],
            ["broken"],
        ]);
    });
    deliver(&stack, "error", &body).await;
    let context: Value = stack.database.value("SELECT context FROM incidents").await;
    assert_eq!(context["tags"], json!({"tenant": "acme", "url": "https://shop.example.com/pay"}));
    let all: String = stack.database.value("SELECT i::text || a::text FROM incidents i, agent_actions a").await;
    assert!(!all.contains("ann@example.com") && !all.contains("SECRET"), "{all}");
}

#[tokio::test]
async fn a_rule_that_fires_again_is_still_one_incident() {
    let stack = stack().await;
    for (firing, text) in [("902", "120 events"), ("903", "130 events")] {
        let body = changed(METRIC_ALERT, |it| {
            it["data"]["metric_alert"]["id"] = json!(firing);
            it["data"]["description_text"] = json!(text);
        });
        for _ in 0..2 {
            assert_eq!(deliver(&stack, "metric_alert", &body).await.status, 200);
        }
    }
    assert_eq!(occurrences(&stack).await, [2]);
}

#[tokio::test]
async fn sentrys_issue_is_one_incident_whatever_the_environment_or_the_message() {
    let stack = stack().await;
    let event = |number: u32, environment: &str| {
        changed(ERROR, |it| {
            let event = &mut it["data"]["error"];
            event["event_id"] = json!(format!("{number:032x}"));
            event["environment"] = json!(environment);
            event["exception"]["values"][1]["value"] = json!(format!("another text {environment}"));
        })
    };
    let sent: Vec<_> = (0..12)
        .map(|number| {
            let environment = ["production", "staging", "test"][number as usize % 3];
            tokio::spawn(webhook(&stack, "error", &event(number, environment)).send())
        })
        .collect();
    for one in sent {
        assert_eq!(one.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(occurrences(&stack).await, [12]);
}

#[tokio::test]
async fn the_level_bears_on_the_severity() {
    let stack = stack().await;
    for (number, (level, message, severity)) in [
        ("fatal", "all quiet", "CRITICAL"),
        ("error", "missing image", "MEDIUM"),
        ("error", "data loss", "CRITICAL"),
        ("warning", "missing image", "LOW"),
        ("info", "all quiet", "MEDIUM"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = changed(ERROR, |it| {
            let event = &mut it["data"]["error"];
            event["event_id"] = json!(format!("{number:032x}"));
            event["issue_id"] = json!(number);
            event["level"] = json!(level);
            event["exception"] = Value::Null;
            event["message"] = json!(message);
        });
        assert_eq!(deliver(&stack, "error", &body).await.text("severity"), severity, "{level}: {message}");
    }
}

#[tokio::test]
async fn only_what_sentry_has_signed_is_read() {
    let stack = stack().await;
    let right = sign(&SecretString::from(SECRET), ERROR.as_bytes());
    let wrong = sign(&SecretString::from("another"), ERROR.as_bytes());
    for signature in [None, Some(""), Some(&wrong), Some(&right.to_uppercase()), Some(&right[..40])] {
        let mut request = stack.request("POST", "/webhooks/sentry").header("sentry-hook-resource", "error");
        if let Some(signature) = signature {
            request = request.header("sentry-hook-signature", signature);
        }
        assert_eq!(stack.send(request.body(ERROR)).await.status, 401, "{signature:?}");
    }
    let request = stack.request("POST", "/webhooks/sentry").header("sentry-hook-signature", &right);
    assert_eq!(stack.send(request.body(ERROR.replacen("4711", "4712", 1))).await.status, 401);
    assert_eq!(stack.database.count("incidents").await, 0);
}

#[tokio::test]
async fn without_a_secret_webhooks_are_closed() {
    let stack = TestStack::start().await;
    assert_eq!(deliver(&stack, "error", ERROR).await.status, 401);
}

#[tokio::test]
async fn what_is_authentic_but_no_error_is_answered_with_200_and_noted() {
    let stack = stack().await;
    for (resource, body) in [
        ("installation", r#"{"action": "created", "data": {"installation": {"status": "pending"}}}"#),
        ("comment", r#"{"action": "created", "data": {"comment": "x", "issue_id": 1}}"#),
        ("seer", r#"{"action": "pr_created", "data": {"run_id": 1}}"#),
        ("something_new", r#"{"action": "happened"}"#),
        ("activity_alert", r#"{"action": "triggered", "data": {"issue": {"id": "1"}}}"#),
        ("issue", &changed(ISSUE, |it| it["action"] = json!("resolved"))),
        ("issue", r#"{"action": "created", "data": {"issue": null}}"#),
        ("error", r#"{"action": "created", "data": []}"#),
        ("something_new", "[1]"),
        ("something_new", "not JSON"),
        ("", "{}"),
        ("", ""),
    ] {
        let answer = deliver(&stack, resource, body).await;
        assert_eq!(answer.status, 200, "{resource} {body}");
        assert!(answer.body["ignored"].is_string(), "{answer:?}");
    }
    assert_eq!(stack.database.count("incidents").await, 0);
}

#[tokio::test]
async fn a_header_that_contradicts_the_body_and_a_body_that_is_no_json_are_refused() {
    let stack = stack().await;
    for (resource, body) in [("issue", ERROR), ("error", ISSUE), ("error", "[]"), ("error", "{"), ("error", "\u{0}")] {
        assert_eq!(deliver(&stack, resource, body).await.status, 400, "{resource}");
    }
    let both = changed(EVENT_ALERT, |it| it["data"]["error"] = Value::Null);
    assert_eq!(deliver(&stack, "event_alert", &both).await.status, 200, "null is as good as missing");
    let cut = ERROR.replacen("pay(app/checkout)", "\\ud83d", 1).replace("e4874d66", "e4874d67");
    assert_eq!(deliver(&stack, "error", &cut).await.status, 200, "half an emoji");
    // The body alone tells what it is where the header is missing.
    let request = webhook(&stack, "", ERROR);
    assert_eq!(stack.send(request).await.status, 200);
}

#[tokio::test]
async fn the_same_delivery_a_hundred_times_at_once_is_one_occurrence_and_a_hundred_equal_answers() {
    let stack = stack().await;
    let sent: Vec<_> = (0..100).map(|_| tokio::spawn(webhook(&stack, "error", ERROR).send())).collect();
    let mut answers = std::collections::BTreeSet::new();
    for one in sent {
        let answer = one.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        answers.insert(answer.text().await.unwrap());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(occurrences(&stack).await, [1]);
}

/// Every place of a JSON value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, child)| (key.replace('/', "~1"), child)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, child)| (index.to_string(), child)).collect(),
        _ => return,
    };
    for (key, child) in children {
        let place = format!("{at}/{key}");
        places(child, &place, found);
        found.push(place);
    }
}

#[tokio::test]
async fn no_field_that_is_missing_null_or_of_another_type_is_an_error_of_ours() {
    let stack = stack().await;
    let strange =
        [Value::Null, json!(-1.5e300), json!(""), json!("\u{0}😀"), json!([null, [1]]), json!({"": {}}), json!(true)];
    for (resource, body) in
        [("error", ERROR), ("event_alert", EVENT_ALERT), ("issue", ISSUE), ("metric_alert", METRIC_ALERT)]
    {
        let whole: Value = serde_json::from_str(body).unwrap();
        let mut found = Vec::new();
        places(&whole, "", &mut found);
        for (index, place) in found.iter().enumerate() {
            let mut broken = whole.clone();
            *broken.pointer_mut(place).unwrap() = strange[index % strange.len()].clone();
            let answer = deliver(&stack, resource, &broken.to_string()).await;
            assert!(matches!(answer.status, 200 | 400), "{resource} {place}: {answer:?}");
        }
        let data = whole["data"].as_object().unwrap().keys().next().unwrap().clone();
        for value in strange.iter().flat_map(|value| {
            found.iter().filter(|place| place.matches('/').count() == 3).map(move |place| (place, value))
        }) {
            let mut broken = whole.clone();
            *broken.pointer_mut(value.0).unwrap() = value.1.clone();
            let delivery_body = broken.to_string();
            let answer = deliver(&stack, resource, &delivery_body).await;
            assert!(matches!(answer.status, 200 | 400), "{resource} {data} {}: {answer:?}", value.0);
        }
    }
}

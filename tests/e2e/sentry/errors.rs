//! Errors, event alerts and new issues: the incidents that they open, and what counts as an occurrence.

use serde_json::{Value, json};

use super::{ERROR, EVENT_ALERT, ISSUE, changed, deliver, occurrences, stack, webhook};

#[tokio::test]
async fn an_error_becomes_an_incident_with_the_fields_of_sentry() {
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
    assert!(!incident.to_string().contains("203.0.113.9"), "a user's address is not stored");
}

#[tokio::test]
async fn the_error_and_the_event_alert_of_one_event_are_one_delivery() {
    let stack = stack().await;
    let first = deliver(&stack, "error", ERROR).await;
    let second = deliver(&stack, "event_alert", EVENT_ALERT).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert_eq!(occurrences(&stack).await, [1]);
}

#[tokio::test]
async fn an_issue_and_its_first_event_count_as_one_in_either_order() {
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
async fn the_first_report_of_an_announced_issue_adds_the_missing_fields() {
    let stack = stack().await;
    let staging = changed(ERROR, |it| it["data"]["error"]["environment"] = json!("staging"));
    let id = deliver(&stack, "issue", ISSUE).await.text("incident_id").to_owned();
    deliver(&stack, "error", &staging).await;
    let incident = stack.get(&format!("/api/incidents/{id}")).await.body;
    assert_eq!((&incident["environment"], &incident["context"]["release"]), (&json!("staging"), &json!("shop@2.4.1")));
    assert!(incident["stack_trace"].as_str().unwrap().contains("checkout.js:42"));
    assert_eq!(incident["context"]["sentry_short_id"], "SHOP-WEB-1A", "the announcement's fields are kept");
}

#[tokio::test]
async fn a_late_announcement_of_a_resolved_issue_opens_nothing() {
    let stack = stack().await;
    let first = deliver(&stack, "error", ERROR).await;
    stack.database.execute("UPDATE incidents SET status = 'resolved'").await;
    let late = deliver(&stack, "issue", ISSUE).await;
    assert_eq!((&late.body["created"], late.text("incident_id")), (&json!(false), first.text("incident_id")));
    assert_eq!(stack.database.count("incidents").await, 1);
    let again = changed(ERROR, |it| it["data"]["error"]["event_id"] = json!("a".repeat(32)));
    assert_eq!(deliver(&stack, "error", &again).await.body["created"], true, "a new event reopens it");
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
async fn an_event_id_identifies_an_event_within_its_project_only() {
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
async fn user_identity_and_url_parameters_are_not_stored() {
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
async fn a_sentry_issue_is_one_incident_across_environments_and_messages() {
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
async fn the_level_determines_the_severity() {
    let stack = stack().await;
    for (number, (level, message, severity)) in [
        ("fatal", "all quiet", "CRITICAL"),
        ("error", "missing image", "MEDIUM"),
        ("error", "data loss", "CRITICAL"),
        ("warning", "missing image", "LOW"),
        ("warning", "security breach", "MEDIUM"),
        ("info", "security breach", "LOW"),
        ("info", "all quiet", "LOW"),
        ("debug", "data loss", "LOW"),
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
async fn a_hundred_concurrent_deliveries_of_one_event_are_one_occurrence_with_equal_answers() {
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

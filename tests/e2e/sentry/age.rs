//! What was captured long ago, and is sent again when nobody remembers its key.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{ERROR, EVENT_ALERT, HOOK, ISSUE, METRIC_ALERT, changed, deliver, deliver_hook, fixture, stack};

fn days_ago(days: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::days(days)
}

/// A delivery of this kind, in which every time that it tells is this.
fn told_at(body: &str, at: DateTime<Utc>) -> String {
    fn set(value: &mut Value, at: DateTime<Utc>) {
        const TIMES: [&str; 11] = [
            "received",
            "timestamp",
            "datetime",
            "dateCreated",
            "dateReceived",
            "lastSeen",
            "firstSeen",
            "date_started",
            "dateStarted",
            "date_detected",
            "date_created",
        ];
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), &*value) {
                        ("date_closed", Value::Null) => {}
                        (name, Value::Number(_)) if TIMES.contains(&name) => *value = json!(at.timestamp()),
                        (name, _) if TIMES.contains(&name) || name == "date_closed" => *value = json!(at.to_rfc3339()),
                        _ => set(value, at),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| set(item, at)),
            _ => {}
        }
    }
    changed(body, |value| set(value, at))
}

#[tokio::test]
async fn a_delivery_older_than_its_key_is_kept_is_answered_noted_and_nothing_else() {
    let stack = stack().await;
    let all = [
        ("error", ERROR.to_owned(), 31),
        ("event_alert", EVENT_ALERT.to_owned(), 31),
        ("issue", ISSUE.to_owned(), 31),
        ("metric_alert", METRIC_ALERT.to_owned(), 31),
        ("issue", fixture("issue-unresolved"), 91),
        ("issue", fixture("issue-resolved"), 91),
        ("issue", fixture("issue-ignored"), 91),
        ("metric_alert", fixture("metric-alert-resolved"), 91),
        ("comment", fixture("comment-created"), 91),
    ];
    for (resource, body, days) in &all {
        let answer = deliver(&stack, resource, &told_at(body, days_ago(*days))).await;
        assert_eq!(answer.status, 200, "{resource}: {answer:?}");
        assert!(answer.text("ignored").contains("older than delivery keys are kept"), "{answer:?}");
    }
    assert_eq!(deliver_hook(&stack, &told_at(HOOK, days_ago(31))).await.status, 200);
    let database = stack.stop().await;
    for table in ["incidents", "inbound_deliveries", "agent_actions", "event_outbox"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
    let counted: i64 = database.value("SELECT sum(count)::bigint FROM intake_counters WHERE kind = 'too_old'").await;
    assert_eq!(counted, 10);
    let sql =
        "SELECT sum((metadata ->> 'count')::bigint)::bigint FROM security_events WHERE event_type = 'old_delivery'";
    assert_eq!(database.value::<i64>(sql).await, 10);
}

#[tokio::test]
async fn a_captured_end_of_an_issue_does_not_end_it_again_when_its_key_is_forgotten() {
    let stack = stack().await;
    let resolved = told_at(&fixture("issue-resolved"), days_ago(91));
    deliver(&stack, "error", &told_at(ERROR, Utc::now())).await;
    assert!(deliver(&stack, "issue", &resolved).await.body["ignored"].is_string());
    assert_eq!(stack.database.count("incidents WHERE status = 'resolved'").await, 0);
    // Sentry resolves by itself what it has not seen for 30 days.
    let late = told_at(&fixture("issue-resolved"), days_ago(31));
    assert_eq!(deliver(&stack, "issue", &late).await.body["changed"], true);
}

#[tokio::test]
async fn an_issue_that_is_unresolved_again_after_a_month_reopens_its_incident_and_opens_none() {
    let stack = stack().await;
    let issue = |name: &str| told_at(&fixture(name), days_ago(40));
    let unknown = deliver(&stack, "issue", &issue("issue-unresolved")).await;
    assert!(unknown.body["noted"].is_string(), "{unknown:?}");
    assert_eq!(stack.database.count("incidents").await, 0);
    deliver(&stack, "error", &told_at(ERROR, Utc::now())).await;
    assert_eq!(deliver(&stack, "issue", &issue("issue-resolved")).await.body["changed"], true);
    // Another status of the same issue, told by hand.
    let again = changed(&issue("issue-unresolved"), |it| it["data"]["issue"]["substatus"] = "regressed".into());
    assert_eq!(deliver(&stack, "issue", &again).await.body["changed"], true);
    assert_eq!(stack.database.count("incidents WHERE status = 'detected'").await, 1);
}

#[tokio::test]
async fn an_error_of_a_client_that_was_offline_counts_when_sentry_received_it_lately() {
    let stack = stack().await;
    let late = changed(&told_at(ERROR, days_ago(60)), |it| {
        it["data"]["error"]["received"] = json!(days_ago(1).timestamp());
    });
    assert_eq!(deliver(&stack, "error", &late).await.body["created"], true);
}

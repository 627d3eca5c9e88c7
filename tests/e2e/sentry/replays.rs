//! Replays of captured deliveries whose delivery key has expired.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{ERROR, EVENT_ALERT, HOOK, ISSUE, METRIC_ALERT, changed, deliver, deliver_hook, fixture, stack};

fn days_ago(days: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::days(days)
}

/// A delivery in which each time is replaced by this one.
fn dated(body: &str, at: DateTime<Utc>) -> String {
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
async fn a_delivery_older_than_key_retention_is_ignored_and_recorded() {
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
        let answer = deliver(&stack, resource, &dated(body, days_ago(*days))).await;
        assert_eq!(answer.status, 200, "{resource}: {answer:?}");
        assert!(answer.text("ignored").contains("older than delivery keys are kept"), "{answer:?}");
    }
    assert_eq!(deliver_hook(&stack, &dated(HOOK, days_ago(31))).await.status, 200);
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
async fn a_replayed_resolution_does_not_resolve_an_issue_after_its_key_expired() {
    let stack = stack().await;
    let resolved = dated(&fixture("issue-resolved"), days_ago(91));
    deliver(&stack, "error", &dated(ERROR, Utc::now())).await;
    assert!(deliver(&stack, "issue", &resolved).await.body["ignored"].is_string());
    assert_eq!(stack.database.count("incidents WHERE status = 'resolved'").await, 0);
    // Sentry resolves an issue by itself after 30 days without events.
    let late = dated(&fixture("issue-resolved"), days_ago(31));
    assert_eq!(deliver(&stack, "issue", &late).await.body["changed"], true);
}

#[tokio::test]
async fn an_issue_unresolved_after_a_month_reopens_its_incident_and_opens_no_other() {
    let stack = stack().await;
    let issue = |name: &str| dated(&fixture(name), days_ago(40));
    let unknown = deliver(&stack, "issue", &issue("issue-unresolved")).await;
    assert!(unknown.body["noted"].is_string(), "{unknown:?}");
    assert_eq!(stack.database.count("incidents").await, 0);
    deliver(&stack, "error", &dated(ERROR, Utc::now())).await;
    assert_eq!(deliver(&stack, "issue", &issue("issue-resolved")).await.body["changed"], true);
    // The same issue with another status, set by hand.
    let again = changed(&issue("issue-unresolved"), |it| it["data"]["issue"]["substatus"] = "regressed".into());
    assert_eq!(deliver(&stack, "issue", &again).await.body["changed"], true);
    assert_eq!(stack.database.count("incidents WHERE status = 'detected'").await, 1);
}

#[tokio::test]
async fn an_old_error_that_sentry_received_recently_counts() {
    let stack = stack().await;
    let late = changed(&dated(ERROR, days_ago(60)), |it| {
        it["data"]["error"]["received"] = json!(days_ago(1).timestamp());
    });
    assert_eq!(deliver(&stack, "error", &late).await.body["created"], true);
}

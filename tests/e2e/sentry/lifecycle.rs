//! Lifecycle of an issue: its incident follows, in whatever order the deliveries arrive.

use harness::{Answer, TestStack};
use serde_json::{Value, json};

use super::{ERROR, ISSUE, changed, deliver, fixture, occurrences, stack, webhook, yesterday};

/// A change of the issue, a minute long ago. `count` distinguishes the changes of one minute.
fn step(action: &str, minute: u32, count: u32) -> String {
    let status = match action {
        "resolved" => "resolved",
        "ignored" | "archived" => "ignored",
        _ => "unresolved",
    };
    changed(ISSUE, |it| {
        it["action"] = json!(action);
        let issue = &mut it["data"]["issue"];
        issue["status"] = json!(status);
        issue["lastSeen"] = json!(format!("{}T10:{minute:02}:00.000000Z", yesterday()));
        issue["count"] = json!(count.to_string());
    })
}

fn event(number: u32) -> String {
    changed(ERROR, |it| it["data"]["error"]["event_id"] = json!(format!("{number:032x}")))
}

async fn status(stack: &TestStack, incident: &str) -> String {
    let incident = stack.get(&format!("/api/incidents/{incident}")).await.body;
    incident["status"].as_str().unwrap().to_owned()
}

/// The timeline of all incidents, oldest first, without the errors.
async fn timeline(stack: &TestStack) -> Vec<String> {
    let sql = "SELECT action_type || CASE WHEN (action_details ->> 'changed')::bool THEN '' ELSE ' -' END
        FROM agent_actions WHERE action_type <> 'error_detected' ORDER BY timestamp, id";
    stack.database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

async fn events(stack: &TestStack) -> Vec<String> {
    let sql = "SELECT detail_type FROM event_outbox ORDER BY created_at";
    stack.database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

fn change_of(answer: &Answer) -> (&Value, &Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    (&answer.body["incident_id"], &answer.body["changed"])
}

#[tokio::test]
async fn an_incident_follows_its_issue_through_resolving_reopening_and_archiving() {
    let stack = stack().await;
    let created = deliver(&stack, "issue", ISSUE).await;
    let id = created.text("incident_id").to_owned();
    deliver(&stack, "error", &event(1)).await;
    for (action, minute, after) in [
        ("assigned", 1, "detected"),
        ("resolved", 1, "resolved"),
        ("unresolved", 2, "detected"),
        ("archived", 2, "acknowledged"),
        ("resolved", 3, "resolved"),
    ] {
        let answer = deliver(&stack, "issue", &step(action, minute, minute)).await;
        let changes = json!(action != "assigned");
        assert_eq!(change_of(&answer), (&json!(id), &changes), "{action}");
        assert_eq!(status(&stack, &id).await, after, "{action}");
    }
    let wanted = ["assigned -", "resolved", "unresolved", "archived", "resolved"];
    assert_eq!(timeline(&stack).await, wanted.map(|step| format!("sentry_issue_{step}")));
    let names = ["IncidentOpened", "IncidentResolved", "IncidentReopened", "IncidentAcknowledged", "IncidentResolved"];
    assert_eq!(events(&stack).await, names);
    let handled: String = stack.database.value("SELECT handled_by::text FROM incidents").await;
    assert_eq!((handled.as_str(), occurrences(&stack).await), ("sentry", vec![1]));
    let incident = stack.get(&format!("/api/incidents/{id}")).await.body;
    assert!(incident["resolved_at"].is_string() && incident["time_to_resolution_seconds"].is_number(), "{incident}");
}

#[tokio::test]
async fn a_redelivered_change_gets_the_first_answer_and_is_idempotent() {
    let stack = stack().await;
    deliver(&stack, "issue", ISSUE).await;
    for (action, minute) in [("assigned", 1), ("resolved", 1), ("unresolved", 2), ("ignored", 2)] {
        let body = step(action, minute, 1);
        let first = deliver(&stack, "issue", &body).await;
        for _ in 0..2 {
            assert_eq!(deliver(&stack, "issue", &body).await.body, first.body, "{action}");
        }
    }
    // A captured resolution is replayed after the issue reopened.
    deliver(&stack, "issue", &step("resolved", 1, 1)).await;
    assert_eq!(stack.database.count("incidents WHERE status = 'acknowledged'").await, 1);
    assert_eq!(timeline(&stack).await.len(), 4);
    assert_eq!(events(&stack).await.len(), 4);
}

#[tokio::test]
async fn a_resolution_older_than_a_reopening_does_not_resolve_the_incident() {
    let stack = stack().await;
    deliver(&stack, "issue", ISSUE).await;
    deliver(&stack, "issue", &step("unresolved", 20, 9)).await;
    let late = deliver(&stack, "issue", &step("resolved", 10, 8)).await;
    assert_eq!(
        (&late.body["changed"], late.text("noted")),
        (&json!(false), "it is older than the newest known change")
    );
    assert_eq!(stack.database.count("incidents WHERE status = 'detected'").await, 1);
    // A redelivery gets the same answer.
    assert_eq!(deliver(&stack, "issue", &step("resolved", 10, 8)).await.body, late.body);
    assert_eq!(change_of(&deliver(&stack, "issue", &step("resolved", 21, 10)).await).1, true);
    // Sentry redelivers with the current state of the issue.
    let outdated_action = changed(&step("resolved", 30, 11), |it| it["data"]["issue"]["status"] = json!("unresolved"));
    deliver(&stack, "issue", &step("unresolved", 30, 11)).await;
    assert_eq!(change_of(&deliver(&stack, "issue", &outdated_action).await).1, false);
}

#[tokio::test]
async fn reopening_an_unknown_issue_opens_one_incident() {
    let stack = stack().await;
    let back = step("unresolved", 5, 3);
    let first = deliver(&stack, "issue", &back).await;
    assert_eq!((first.status, &first.body["created"]), (200, &json!(true)));
    assert_eq!(deliver(&stack, "issue", &back).await.body, first.body);
    let next = deliver(&stack, "error", &event(1)).await;
    assert_eq!((next.text("incident_id"), &next.body["created"]), (first.text("incident_id"), &json!(false)));
    assert_eq!(occurrences(&stack).await, [1], "the announcement counts as its first event");
}

#[tokio::test]
async fn a_change_of_an_unknown_issue_is_stored() {
    let stack = stack().await;
    for file in ["issue-resolved", "issue-ignored", "issue-assigned"] {
        for _ in 0..2 {
            let answer = deliver(&stack, "issue", &fixture(file)).await;
            assert_eq!((answer.status, answer.text("noted")), (200, "no incident is known for it"), "{file}");
        }
    }
    assert_eq!(stack.database.count("inbound_deliveries WHERE note ->> 'resource' = 'issue'").await, 3);
    assert_eq!(stack.database.count("agent_actions").await, 0);
}

#[tokio::test]
async fn a_hundred_concurrent_deliveries_of_a_resolution_resolve_once() {
    let stack = stack().await;
    deliver(&stack, "issue", ISSUE).await;
    let body = step("resolved", 1, 1);
    let sent: Vec<_> = (0..100).map(|_| tokio::spawn(webhook(&stack, "issue", &body).send())).collect();
    let mut answers = std::collections::BTreeSet::new();
    for one in sent {
        let answer = one.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        answers.insert(answer.text().await.unwrap());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((timeline(&stack).await.len(), events(&stack).await.len()), (1, 2));
}

#[tokio::test]
async fn concurrent_resolutions_reopenings_and_errors_leave_at_most_one_open_incident() {
    let stack = stack().await;
    deliver(&stack, "issue", ISSUE).await;
    let sent: Vec<_> = (0..60)
        .map(|number| {
            let (resource, body) = match number % 3 {
                0 => ("issue", step("resolved", number, number)),
                1 => ("issue", step("unresolved", number, number)),
                _ => ("error", event(number)),
            };
            tokio::spawn(webhook(&stack, resource, &body).send())
        })
        .collect();
    for one in sent {
        let answer = one.await.unwrap().unwrap();
        let status = answer.status();
        assert_eq!(status, 200, "{}", answer.text().await.unwrap());
    }
    assert!(stack.database.count("incidents WHERE status <> 'resolved'").await <= 1);
    let total: i64 = stack.database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    let announced = stack.database.count("incidents WHERE announced_only").await;
    assert_eq!(total - announced, 20, "every error counts once");
}

#[tokio::test]
async fn an_assignment_is_noted_without_the_address() {
    let stack = stack().await;
    deliver(&stack, "issue", ISSUE).await;
    let body = changed(&fixture("issue-assigned"), |it| {
        it["data"]["issue"]["assignedTo"] =
            json!({"type": "user", "id": "9", "name": "Ann Lee ann@example.com", "email": "ann@example.com"});
    });
    for body in [&body, &fixture("issue-assigned")] {
        assert_eq!(deliver(&stack, "issue", body).await.status, 200);
    }
    let sql =
        "SELECT action_description FROM agent_actions WHERE action_type = 'sentry_issue_assigned' ORDER BY timestamp";
    let noted: Vec<String> = stack.database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(noted, ["Sentry: issue assigned to a user", "Sentry: issue assigned to the team checkout"]);
    let all: String = stack
        .database
        .value(
            "SELECT string_agg(a::text, '') || (SELECT string_agg(d::text, '') FROM inbound_deliveries d)
            FROM agent_actions a",
        )
        .await;
    assert!(!all.contains("ann@example.com"), "{all}");
}

//! Authentic deliveries that are no errors: stored, noted on the timeline of the named incident, counted, never refused.

use serde_json::{Value, json};

use super::{ERROR, ISSUE, METRIC_ALERT, changed, config, deliver, deliver_hook, deliver_unsigned, fixture, stack};
use super::{HOOK, LEGACY, PATH_SECRET, stack_of};

#[tokio::test]
async fn deliveries_that_name_an_issue_are_noted_on_its_incident_s_timeline() {
    let stack = stack().await;
    let id = deliver(&stack, "issue", ISSUE).await.text("incident_id").to_owned();
    let files = [
        ("comment", "comment-created"),
        ("comment", "comment-updated"),
        ("comment", "comment-deleted"),
        ("seer", "seer-root-cause-started"),
        ("seer", "seer-root-cause-completed"),
        ("seer", "seer-solution-completed"),
        ("seer", "seer-coding-completed"),
        ("seer", "seer-pr-created"),
        ("activity_alert", "activity-alert-triggered"),
    ];
    for (resource, file) in files {
        let first = deliver(&stack, resource, &fixture(file)).await;
        assert_eq!((first.status, first.text("incident_id")), (200, id.as_str()), "{file}");
        assert_eq!(first.text("noted"), "it was added to the incident's timeline");
        assert_eq!(deliver(&stack, resource, &fixture(file)).await.body, first.body, "{file}");
    }
    let sql = "SELECT action_type || ' ' || agent_id || ' ' || agent_type FROM agent_actions a
        JOIN incidents i ON i.id = a.incident_id WHERE action_type <> 'error_detected' ORDER BY timestamp";
    let noted: Vec<String> = stack.database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    let wanted = files.map(|(_, file)| format!("sentry_{} sentry-webhook intake", file.replace('-', "_")));
    assert_eq!(noted, wanted, "each once");
    let details = "SELECT action_details FROM agent_actions WHERE action_type = 'sentry_seer_pr_created'";
    let details: Value = stack.database.value(details).await;
    assert_eq!(details["pull_request_1"], "https://github.com/acme/shop/pull/318");
    assert_eq!(stack.database.count("incidents WHERE status = 'detected' AND occurrences = 1").await, 1);
}

#[tokio::test]
async fn secrets_in_notes_are_not_stored() {
    let stack = stack().await;
    deliver(&stack, "issue", ISSUE).await;
    let secret = "ask ann@example.com, token ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let comment = changed(&fixture("comment-created"), |it| it["data"]["comment"] = json!(secret));
    let unknown = json!({"action": "made", "data": {"group_id": 4711, "text": secret, "password": "hunter2hunter2"}});
    let long = format!("{}{secret}", "x ".repeat(20_000));
    deliver(&stack, "comment", &comment).await;
    deliver(&stack, "something_new", &unknown.to_string()).await;
    deliver(&stack, "something_new", &format!("not JSON: {secret}")).await;
    deliver(&stack, "something_new", &json!({ "long": long }).to_string()).await;
    deliver(&stack, "installation", &fixture("installation-created")).await;
    let sql = "SELECT (SELECT string_agg(a::text, '') FROM agent_actions a)
        || (SELECT string_agg(d::text, '') FROM inbound_deliveries d)";
    let all: String = stack.database.value(sql).await;
    for planted in ["ann@example.com", "ghp_0123", "hunter2", "f3c71b491ca949e18bc1f49ffe3b3b8c"] {
        assert!(!all.contains(planted), "{planted}: {all}");
    }
    let comment: Value = stack
        .database
        .value("SELECT action_details FROM agent_actions WHERE action_type = 'sentry_comment_created'")
        .await;
    assert!(comment["comment"].as_str().unwrap().starts_with("ask "), "{comment}");
    assert_eq!(stack.database.count("inbound_deliveries WHERE length(note::text) > 16384").await, 0);
}

#[tokio::test]
async fn every_authentic_delivery_is_answered_with_200() {
    let stack = stack().await;
    for (resource, body, word) in [
        ("installation", r#"{"action": "created", "data": {"installation": {"status": "pending"}}}"#, "noted"),
        ("comment", r#"{"action": "created", "data": {"comment": "x", "issue_id": 1}}"#, "noted"),
        ("seer", r#"{"action": "pr_created", "data": {"run_id": 1}}"#, "noted"),
        ("something_new", r#"{"action": "happened"}"#, "noted"),
        ("activity_alert", r#"{"action": "triggered", "data": {"issue": {"id": "1"}}}"#, "noted"),
        ("preprod_artifact", r#"{"action": "size_analysis_completed", "data": {"state": "FAILED"}}"#, "noted"),
        ("size_analysis", r#"{"action": "size_analysis_completed", "data": {"state": "COMPLETED"}}"#, "noted"),
        ("issue", &changed(ISSUE, |it| it["action"] = json!("resolved")), "noted"),
        ("issue", &changed(ISSUE, |it| it["action"] = json!("moved")), "noted"),
        ("issue", r#"{"action": "created", "data": {"issue": null}}"#, "ignored"),
        ("issue", r#"{"action": "resolved", "data": {}}"#, "ignored"),
        ("metric_alert", r#"{"action": "resolved", "data": {}}"#, "ignored"),
        ("error", r#"{"action": "created", "data": []}"#, "ignored"),
        ("something_new", "[1]", "noted"),
        ("something_new", "not JSON", "noted"),
        ("", "{}", "noted"),
        ("", "", "noted"),
    ] {
        let answer = deliver(&stack, resource, body).await;
        assert_eq!(answer.status, 200, "{resource} {body}");
        assert!(answer.body[word].is_string(), "{answer:?}");
    }
    assert_eq!(stack.database.count("incidents").await, 0);
}

#[tokio::test]
async fn a_delivery_of_an_unknown_kind_is_stored_unchanged_once() {
    let stack = stack().await;
    let id = deliver(&stack, "issue", ISSUE).await.text("incident_id").to_owned();
    let body =
        json!({"action": "happened", "data": {"issue_id": 4711, "what": ["ever", {"it": "is"}], "nul": "\u{0}"}});
    for _ in 0..2 {
        assert_eq!(deliver(&stack, "something_new", &body.to_string()).await.text("incident_id"), id);
    }
    let note: Value = stack.database.value("SELECT note FROM inbound_deliveries WHERE note IS NOT NULL").await;
    assert_eq!((&note["resource"], &note["action"]), (&json!("something_new"), &json!("happened")));
    assert_eq!(note["body"]["data"]["what"], body["data"]["what"]);
    assert_eq!(stack.database.count("agent_actions WHERE action_type = 'sentry_unknown'").await, 1);
}

#[tokio::test]
async fn deliveries_are_counted_by_kind_and_unknown_kinds_together() {
    let stack = stack().await;
    for (resource, body) in [
        ("issue", ISSUE.to_owned()),
        ("issue", ISSUE.to_owned()),
        ("comment", fixture("comment-created")),
        ("new-1", "{}".to_owned()),
        ("new-2", "{}".to_owned()),
        ("issue", changed(ISSUE, |it| it["action"] = json!("moved"))),
    ] {
        assert_eq!(deliver(&stack, resource, &body).await.status, 200);
    }
    deliver_hook(&stack, HOOK).await;
    deliver_unsigned(&stack, PATH_SECRET, LEGACY).await;
    let database = stack.stop().await;
    let sql =
        "SELECT kind || ' ' || sum(count) FROM intake_counters WHERE source = 'sentry' GROUP BY kind ORDER BY kind";
    let counted: Vec<String> = database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(counted, ["comment.created 1", "issue.created 2", "legacy 1", "service_hook 1", "unknown 3"]);
}

#[tokio::test]
async fn our_own_errors_are_dropped_when_sentry_sends_them_back() {
    let own = Some("1".to_owned());
    let stack = stack_of(sentry_webhook::app::SentryConfig { own_project: own, ..config() }).await;
    let answers = [
        deliver(&stack, "error", ERROR).await,
        deliver(&stack, "event_alert", &fixture("event-alert-triggered")).await,
        deliver(&stack, "issue", ISSUE).await,
        deliver(&stack, "issue", &fixture("issue-unresolved")).await,
        deliver(&stack, "activity_alert", &fixture("activity-alert-triggered")).await,
        deliver_hook(&stack, HOOK).await,
        deliver_unsigned(&stack, PATH_SECRET, LEGACY).await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 200);
        assert!(answer.text("ignored").contains("own errors"), "{answer:?}");
    }
    assert_eq!(stack.database.count("inbound_deliveries").await, 0);
    let other = changed(ERROR, |it| it["data"]["error"]["project"] = json!(2));
    assert_eq!(deliver(&stack, "error", &other).await.body["created"], true);
    assert_eq!(deliver(&stack, "metric_alert", METRIC_ALERT).await.body["created"], true);
}

//! What is stored of an error, and how repeated errors are grouped.

use harness::TestStack;
use serde_json::{Value, json};

#[tokio::test]
async fn an_error_becomes_an_incident_an_audit_row_and_an_event() {
    let stack = TestStack::start().await;
    let answer = stack
        .report_ok(json!({
            "error": {
                "message": "Database connection failed",
                "type": "PoolError",
                "stack": "PoolError: timeout\n  at pool.rs:42",
            },
            "context": {"application": "shop", "endpoint": "/api/orders", "environment": "staging", "user": 7},
            "source": "order-service",
        }))
        .await;
    let id = answer.text("incident_id").to_owned();
    assert!(id.starts_with("INC-") && id.len() <= 30, "{id}");
    assert_eq!(answer.body["created"], true);
    assert_eq!((answer.text("severity"), answer.text("category")), ("CRITICAL", "backend"));

    let incident = stack.get(&format!("/api/incidents/{id}")).await.body;
    let expected = json!({
        "incident_id": id, "title": "Database connection failed", "status": "detected", "severity": "CRITICAL",
        "category": "backend", "application": "shop", "environment": "staging", "endpoint": "/api/orders",
        "error_message": "Database connection failed", "error_type": "PoolError",
        "stack_trace": "PoolError: timeout\n  at pool.rs:42", "occurrences": 1,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&incident[name], value, "{name}");
    }
    assert_eq!(incident["context"]["user"], 7);

    let audit: Value = stack
        .database
        .value(
            "SELECT to_jsonb(a) || jsonb_build_object('incident', i.incident_id)
            FROM agent_actions a JOIN incidents i ON i.id = a.incident_id",
        )
        .await;
    assert_eq!(audit["agent_id"], "monitoring-service");
    assert_eq!(audit["agent_type"], "monitoring");
    assert_eq!(audit["action_type"], "error_detected");
    assert_eq!(audit["action_description"], "Error detected from order-service: Database connection failed");
    assert_eq!(audit["action_success"], true);
    assert_eq!(audit["incident"], id);

    let event: Value = stack.database.value("SELECT to_jsonb(e) FROM event_outbox e").await;
    assert_eq!(event["detail_type"], "IncidentOpened");
    assert_eq!(event["published_at"], Value::Null);
    assert_eq!(event["detail"]["incident_id"], id);
}

#[tokio::test]
async fn missing_fields_get_defaults() {
    let stack = TestStack::start().await;
    let answer = stack.report_ok(json!({"error": {"message": "boom"}})).await;
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!((&incident["application"], &incident["environment"]), (&json!("unknown"), &json!("production")));
    let description: String = stack.database.value("SELECT action_description FROM agent_actions").await;
    assert_eq!(description, "Error detected from api: boom");
}

#[tokio::test]
async fn a_repeated_error_is_one_more_occurrence_of_the_open_incident() {
    let stack = TestStack::start().await;
    let error = |order: u32| json!({"error": {"message": format!("order {order} failed"), "type": "OrderError"}});
    let first = stack.report_ok(error(1)).await;
    let second = stack.report_ok(error(2)).await;
    assert_eq!((&first.body["created"], &second.body["created"]), (&json!(true), &json!(false)));
    assert_eq!(first.text("incident_id"), second.text("incident_id"));
    let incident = stack.get(&format!("/api/incidents/{}", first.text("incident_id"))).await.body;
    assert_eq!(incident["occurrences"], 2);
    assert_eq!(incident["title"], "order 1 failed");
    // Repetitions are counted, not audited: a flood of one error adds no rows.
    assert_eq!(stack.database.count("agent_actions").await, 1);
    assert_eq!(stack.database.count("event_outbox").await, 1);
}

#[tokio::test]
async fn application_environment_and_type_separate_errors() {
    let stack = TestStack::start().await;
    for (application, environment, kind) in
        [("a", "production", "X"), ("b", "production", "X"), ("a", "test", "X"), ("a", "production", "Y")]
    {
        let answer = stack
            .report_ok(json!({
                "error": {"message": "boom", "type": kind},
                "context": {"application": application, "environment": environment},
            }))
            .await;
        assert_eq!(answer.body["created"], true);
    }
    assert_eq!(stack.database.count("incidents").await, 4);
}

#[tokio::test]
async fn a_resolved_incident_reopens_within_a_day_and_later_a_new_one_is_opened() {
    let stack = TestStack::start().await;
    let first = stack.report_ok(json!({"error": {"message": "boom"}})).await;
    stack.database.execute("UPDATE incidents SET status = 'resolved', resolved_at = now()").await;
    let second = stack.report_ok(json!({"error": {"message": "boom"}})).await;
    assert_eq!(second.body["created"], false);
    assert_eq!(first.text("incident_id"), second.text("incident_id"));
    let incident = stack.get(&format!("/api/incidents/{}", first.text("incident_id"))).await.body;
    assert_eq!((&incident["status"], &incident["occurrences"]), (&json!("detected"), &json!(2)));
    assert_eq!((&incident["resolved_at"], &incident["reopen_count"]), (&json!(null), &json!(1)));
    assert_eq!(incident["timeline"][0]["action_type"], "incident_reopened");
    assert_eq!(stack.database.count("event_outbox WHERE detail_type = 'IncidentReopened'").await, 1);

    let over = "UPDATE incidents SET status = 'resolved', resolved_at = now() - interval '25 hours'";
    stack.database.execute(over).await;
    let third = stack.report_ok(json!({"error": {"message": "boom"}})).await;
    assert_eq!(third.body["created"], true);
    assert_ne!(first.text("incident_id"), third.text("incident_id"));
}

#[tokio::test]
async fn a_more_severe_report_raises_the_severity_and_a_less_severe_one_does_not_lower_it() {
    let stack = TestStack::start().await;
    let mut id = String::new();
    for (sent, stored) in [("low", "LOW"), ("critical", "CRITICAL"), ("medium", "CRITICAL")] {
        let answer = stack.report_ok(json!({"error": {"message": "boom"}, "severity": sent})).await;
        assert_eq!(answer.text("severity"), sent.to_uppercase());
        id = answer.text("incident_id").to_owned();
        let severity: String = stack.database.value("SELECT severity FROM incidents").await;
        assert_eq!(severity, stored);
    }
    assert_eq!(stack.get(&format!("/api/incidents/{id}")).await.body["occurrences"], 3);
}

#[tokio::test]
async fn long_values_are_cut_to_their_columns_and_kept_whole_in_the_context() {
    let stack = TestStack::start().await;
    let (message, kind, application, endpoint) = ("😀".repeat(300), "T".repeat(80), "a".repeat(150), "/".repeat(900));
    let answer = stack
        .report_ok(json!({
            "error": {"message": message, "type": kind},
            "context": {"application": application, "endpoint": endpoint, "environment": "e".repeat(100)},
        }))
        .await;
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!(incident["title"], "😀".repeat(255));
    assert_eq!(incident["error_message"], message);
    assert_eq!(incident["error_type"], "T".repeat(50));
    assert_eq!(incident["application"], "a".repeat(100));
    assert_eq!(incident["context"]["error_type"], kind);
    assert_eq!(incident["context"]["application"], application);
    assert_eq!(incident["context"]["endpoint"], endpoint);
}

#[tokio::test]
async fn with_a_configured_key_errors_are_accepted_only_with_it() {
    let stack = TestStack::builder().ingest_key("s3cret").start(harness::Database::migrated().await).await;
    let error = json!({"error": {"message": "boom"}});
    assert_eq!(stack.report(error.clone()).await.status, 401);
    for (header, value, status) in
        [("authorization", "Bearer wrong", 401), ("authorization", "Bearer s3cret", 200), ("x-api-key", "s3cret", 200)]
    {
        let request = stack.request("POST", "/api/autonomous/error").header(header, value).json(&error);
        assert_eq!(stack.send(request).await.status, status, "{header}: {value}");
    }
    assert_eq!(stack.database.count("incidents").await, 1);
}

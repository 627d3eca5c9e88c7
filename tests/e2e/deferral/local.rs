//! The local stack with a database that exceeds every deadline.

use std::time::Duration;

use harness::{Database, TestStack};
use serde_json::json;
use tempfile::TempDir;

async fn stack() -> (TempDir, TestStack) {
    let folder = tempfile::tempdir().unwrap();
    // The deadline of a stuck statement.
    let builder = TestStack::builder().journal(&folder.path().join("journal")).store_budget(Duration::from_secs(3));
    let stack = builder.start(Database::migrated().await).await;
    (folder, stack)
}

/// Sends reports concurrently; the status of each.
async fn report_at_once(stack: &TestStack, number: u32) -> Vec<u16> {
    let sent: Vec<_> = (0..number)
        .map(|_| {
            let request = stack.request("POST", "/api/autonomous/error");
            tokio::spawn(request.json(&json!({"error": {"message": "boom"}})).send())
        })
        .collect();
    let mut answers = Vec::new();
    for one in sent {
        answers.push(one.await.unwrap().unwrap().status().as_u16());
    }
    answers
}

const ALL_STORED: &str = "
    SELECT coalesce(sum(occurrences), 0) + (SELECT coalesce(sum(occurrences), 0) FROM incident_occurrences) = ";

#[tokio::test(flavor = "multi_thread")]
async fn while_every_connection_is_stuck_reports_are_deferred_to_the_journal_and_count_once() {
    let (_folder, stack) = stack().await;
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    stack.database.execute("BEGIN; LOCK TABLE inbound_deliveries").await;
    let answers = report_at_once(&stack, 60).await;
    assert!(answers.iter().all(|status| *status == 202), "{answers:?}");
    stack.database.execute("COMMIT").await;
    stack.database.wait_until(&format!("{ALL_STORED} 61 FROM incidents")).await;
    assert_eq!(stack.database.count("inbound_deliveries").await, 61);
}

#[tokio::test]
async fn a_report_is_not_lost_when_the_server_itself_fails() {
    let (_folder, stack) = stack().await;
    stack
        .database
        .execute(
            "ALTER FUNCTION record_reports RENAME TO kept;
            CREATE FUNCTION record_reports(jsonb, double precision) RETURNS TABLE (
                delivery_key text, known boolean, content_hash text, incident_id text, created boolean, severity text,
                category text, event_id uuid
            ) LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'DbHandler exited' USING ERRCODE = 'XX000'; END $$",
        )
        .await;
    let answer = stack.report(json!({"error": {"message": "boom"}})).await;
    assert_eq!((answer.status, &answer.body["deferred"]), (202, &json!(true)));
    stack.database.execute("DROP FUNCTION record_reports; ALTER FUNCTION kept RENAME TO record_reports").await;
    stack.database.wait_until(&format!("{ALL_STORED} 1 FROM incidents")).await;
}

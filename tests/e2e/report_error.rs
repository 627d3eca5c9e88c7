//! An error's journey.

use harness::TestStack;
use serde_json::json;

#[tokio::test]
async fn an_error_becomes_an_incident() {
    let stack = TestStack::start().await;
    let answer = stack.report_ok(json!({"error": {"message": "Database connection failed"}})).await;
    assert_eq!(answer.body["created"], true);
    assert_eq!((answer.text("severity"), answer.text("category")), ("CRITICAL", "database"));
    assert_eq!(stack.database.count("incidents").await, 1);
    assert_eq!(stack.database.count("agent_actions").await, 1);
    assert_eq!(stack.database.count("event_outbox").await, 1);
}

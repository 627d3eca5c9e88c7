//! The database is unavailable, closes a connection between two requests, is not migrated, or hangs.

use harness::{Database, TestStack};
use serde_json::json;

#[tokio::test]
async fn without_a_database_the_answer_is_503_with_retry_after() {
    let nowhere = "postgresql://user:secret@127.0.0.1:9/none?sslmode=disable".to_owned();
    let stack = TestStack::builder().database_url(nowhere).start(Database::empty().await).await;
    let answer = stack.report(json!({"error": {"message": "boom"}})).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    assert!(!answer.body.to_string().contains("127.0.0.1"), "a 5xx shows no detail: {}", answer.body);
    assert_eq!(stack.get("/health").await.status, 200, "liveness needs no database");
    assert_eq!(stack.get("/ready").await.status, 503);
}

#[tokio::test]
async fn a_connection_that_was_closed_between_two_requests_is_replaced() {
    let stack = TestStack::start().await;
    for round in 0..5 {
        stack.report_ok(json!({"error": {"message": "boom"}})).await;
        let killed: i64 = stack
            .database
            .value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        assert!(killed >= 1, "round {round}: the stack has a connection");
    }
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    let occurrences: i64 = stack.database.value("SELECT occurrences FROM incidents").await;
    assert_eq!(occurrences, 6);
}

#[tokio::test]
async fn a_database_that_is_not_migrated_is_a_503_until_it_is() {
    let stack = TestStack::builder().start(Database::empty().await).await;
    assert_eq!(stack.report(json!({"error": {"message": "boom"}})).await.status, 503);
    local::migrations::apply(&stack.database.config()).await.unwrap();
    assert_eq!(stack.report(json!({"error": {"message": "boom"}})).await.status, 200);
}

#[tokio::test]
async fn a_statement_that_hangs_times_out_and_the_next_request_works() {
    let stack = TestStack::start().await;
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    // Another session locks the table that the next report needs.
    let other = stack.database.client();
    other.batch_execute("BEGIN; LOCK TABLE inbound_deliveries").await.unwrap();
    assert_eq!(stack.report(json!({"error": {"message": "boom"}})).await.status, 503);
    other.batch_execute("COMMIT").await.unwrap();
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    let occurrences: i64 = stack.database.value("SELECT occurrences FROM incidents").await;
    assert_eq!(occurrences, 2);
}

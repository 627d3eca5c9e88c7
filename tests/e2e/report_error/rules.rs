//! Operators' own classification rules.

use harness::{Database, TestStack};
use serde_json::json;

async fn stack_with_rules(rules: serde_json::Value) -> TestStack {
    let database = Database::migrated().await;
    database
        .client()
        .execute("INSERT INTO system_config (key, value) VALUES ('classification_rules', $1)", &[&rules])
        .await
        .unwrap();
    TestStack::builder().start(database).await
}

#[tokio::test]
async fn an_operator_s_rule_takes_precedence_over_the_built_in_rules() {
    let stack = stack_with_rules(json!([
        {"name": "known noise", "pattern": "^ResizeObserver", "severity": "LOW", "category": "frontend"},
    ]))
    .await;
    let answer = stack.report_ok(json!({"error": {"message": "ResizeObserver loop: TypeError"}})).await;
    assert_eq!((answer.text("severity"), answer.text("category")), ("LOW", "frontend"));
    let answer = stack.report_ok(json!({"error": {"message": "data loss"}})).await;
    assert_eq!(answer.text("severity"), "CRITICAL");
}

#[tokio::test]
async fn with_an_invalid_rule_the_built_in_rules_stay_in_force() {
    for rules in [json!([{"name": "broken", "pattern": "(", "severity": "LOW"}]), json!("nonsense"), json!([3])] {
        let stack = stack_with_rules(rules).await;
        let answer = stack.report_ok(json!({"error": {"message": "data loss"}})).await;
        assert_eq!(answer.text("severity"), "CRITICAL");
    }
}

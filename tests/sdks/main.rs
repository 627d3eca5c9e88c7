//! Sentry's own SDKs, unmodified, with our DSN: `make test-sdks`, which installs them.
//!
//! Each test runs one program (`programs/`) that uses an SDK as its documentation shows it, and checks the incidents
//! that result. Both SDKs run the same scenarios.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod program;

use harness::{Database, TestStack};
use program::{BOTH, Sdk};
use serde_json::{Value, json};
use shared::model::Limits;

/// A stack after this program has run against it.
async fn after(sdk: Sdk, scenario: &str) -> TestStack {
    let stack = TestStack::builder().start(Database::migrated().await).await;
    let project = stack.application("shop", None, Limits::default()).await;
    sdk.run(scenario, &stack.dsn(project)).await;
    stack
}

/// The incidents of a stack, oldest first, in full.
async fn incidents(stack: &TestStack) -> Vec<Value> {
    let rows = stack.database.rows("SELECT incident_id FROM incidents ORDER BY detected_at, incident_id", &[]).await;
    let mut incidents = Vec::new();
    for row in rows {
        incidents.push(stack.get(&format!("/api/incidents/{}", row.get::<_, &str>(0))).await.body);
    }
    incidents
}

/// The one incident of a stack.
async fn the_incident(stack: &TestStack) -> Value {
    let incidents = incidents(stack).await;
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    incidents.into_iter().next().unwrap()
}

#[tokio::test]
async fn an_exception_with_its_cause_is_an_incident_with_the_fields_of_the_sdk() {
    for (sdk, cause) in BOTH.into_iter().zip(["ConnectionError: payment gateway", "TypeError: cannot charge"]) {
        let incident = the_incident(&after(sdk, "chained").await).await;
        assert_eq!((&incident["application"], &incident["environment"]), (&json!("shop"), &json!("staging")));
        assert_eq!(incident["error_type"], "OrderRefused", "the outermost exception, in {sdk:?}");
        assert_eq!(incident["error_message"], "OrderRefused: order 17 refused", "{sdk:?}");
        let stack = incident["stack_trace"].as_str().unwrap();
        assert!(stack.contains(cause) && stack.contains("checkout"), "{sdk:?}: {stack}");
        assert_eq!(incident["occurrences"], 1);
        let text = incident.to_string();
        assert!(text.contains("shop@1.2.3") && text.contains("acme"), "{sdk:?}: {text}");
        assert!(!text.contains("ann@example.com") && !text.contains("user-4711"), "{sdk:?}: no user identity");
    }
}

#[tokio::test]
async fn a_message_is_an_incident() {
    for sdk in BOTH {
        let incident = the_incident(&after(sdk, "message").await).await;
        assert_eq!(incident["error_message"], "nightly import found no files", "{sdk:?}");
        assert_eq!(incident["context"]["level"], "warning", "{sdk:?}");
    }
}

#[tokio::test]
async fn an_error_log_entry_is_an_incident() {
    for sdk in BOTH {
        let incident = the_incident(&after(sdk, "logging").await).await;
        assert_eq!(incident["error_message"], "stock of bolts is negative: -3", "{sdk:?}");
    }
}

#[tokio::test]
async fn the_same_error_twice_is_one_incident_with_two_occurrences() {
    for sdk in BOTH {
        let incident = the_incident(&after(sdk, "twice").await).await;
        assert_eq!(incident["occurrences"], 2, "{sdk:?}");
    }
}

#[tokio::test]
async fn a_fingerprint_beside_the_default_splits_incidents() {
    for sdk in BOTH {
        let incidents = incidents(&after(sdk, "fingerprints").await).await;
        let mut occurrences: Vec<_> = incidents.iter().map(|incident| incident["occurrences"].as_i64()).collect();
        occurrences.sort_unstable();
        assert_eq!(occurrences, [Some(1), Some(2)], "{sdk:?}");
    }
}

#[tokio::test]
async fn an_attachment_of_two_megabytes_does_not_lose_the_error_beside_it() {
    for sdk in BOTH {
        let incident = the_incident(&after(sdk, "attachment").await).await;
        assert_eq!(incident["error_type"], "OrderRefused", "{sdk:?}");
    }
}

#[tokio::test]
async fn a_transaction_is_counted_and_the_error_within_it_is_an_incident() {
    for sdk in BOTH {
        let stack = after(sdk, "transaction").await;
        let incident = the_incident(&stack).await;
        assert_eq!(incident["error_type"], "OrderRefused", "{sdk:?}");
        let database = stack.stop().await;
        let traces = "intake_counters WHERE source = 'sentry-envelope' AND kind IN ('transaction', 'span')";
        assert!(database.count(traces).await > 0, "{sdk:?}");
    }
}

#[tokio::test]
async fn an_uncaught_error_is_an_incident() {
    for sdk in BOTH {
        let incident = the_incident(&after(sdk, "unhandled").await).await;
        assert_eq!(incident["error_message"], "OrderRefused: order 17 refused", "{sdk:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_monitored_job_is_stored_as_a_check_in() {
    for sdk in BOTH {
        let stack = after(sdk, "check-in").await;
        let sql = "SELECT monitor_slug, environment, status FROM check_ins";
        let rows = stack.database.rows(sql, &[]).await;
        assert_eq!(rows.len(), 1, "{sdk:?}");
        let found: [&str; 3] = [rows[0].get(0), rows[0].get(1), rows[0].get(2)];
        assert_eq!(found, ["nightly-import", "staging", "ok"], "{sdk:?}");
        assert_eq!(incidents(&stack).await, Vec::<Value>::new(), "{sdk:?}");
    }
}

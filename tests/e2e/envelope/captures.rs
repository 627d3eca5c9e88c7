//! Captured envelopes of real SDKs become the expected incidents.

use serde_json::{Value, json};

use super::{Sdk, capture};

async fn the_incident(sdk: &Sdk) -> Value {
    let id: String = sdk.stack.database.value("SELECT incident_id FROM incidents").await;
    sdk.stack.get(&format!("/api/incidents/{id}")).await.body
}

#[tokio::test]
async fn an_exception_from_python_becomes_an_incident() {
    let sdk = Sdk::start().await;
    let answer = sdk.envelope(capture("py-2")).await;
    assert_eq!((answer.status, answer.text("id")), (200, "4785fc6015d440708a0c1093cce93cff"), "{answer:?}");
    let incident = the_incident(&sdk).await;
    assert_eq!(incident["error_type"], "ZeroDivisionError");
    assert_eq!(incident["title"], "ZeroDivisionError: division by zero");
    assert_eq!((&incident["application"], &incident["environment"]), (&json!("shop"), &json!("test")));
    let stack = incident["stack_trace"].as_str().unwrap();
    assert!(stack.contains("s.py") && stack.contains("division by zero"), "{stack}");
    let source: String = sdk.stack.database.value("SELECT source::text FROM inbound_deliveries").await;
    assert_eq!(source, "sentry-sdk");
}

#[tokio::test]
async fn an_exception_from_node_with_the_key_in_the_query_becomes_an_incident() {
    let sdk = Sdk::start().await;
    let query = format!("sentry_version=7&sentry_key={}&sentry_client=sentry.javascript.node%2F11.12.0", sdk.key);
    let path = format!("/api/{}/envelope/?{query}", sdk.project);
    let answer = sdk.stack.send(sdk.stack.request("POST", &path).body(capture("node-4"))).await;
    assert_eq!((answer.status, answer.text("id")), (200, "71dc12568f4c4b6c9e426c2f13035261"), "{answer:?}");
    let incident = the_incident(&sdk).await;
    assert_eq!(incident["error_type"], "TypeError");
    assert_eq!(incident["error_message"], "TypeError: Cannot read properties of null (reading 'x')");
    assert_eq!(incident["application"], "shop");
}

#[tokio::test]
async fn messages_become_incidents() {
    for name in ["py-3", "node-3"] {
        let sdk = Sdk::start().await;
        assert_eq!(sdk.envelope(capture(name)).await.status, 200, "{name}");
        let incident = the_incident(&sdk).await;
        assert_eq!(incident["error_message"], "hello", "{name}");
        assert_eq!(incident["environment"], "test", "{name}");
    }
}

#[tokio::test]
async fn items_that_are_no_errors_are_accepted_and_open_nothing() {
    let sdk = Sdk::start().await;
    for name in ["py-1", "node-1", "node-2"] {
        let answer = sdk.envelope(capture(name)).await;
        assert_eq!((answer.status, answer.text("id").len()), (200, 32), "{name}: {answer:?}");
    }
    assert_eq!(sdk.incidents().await, 0);
}

#[tokio::test]
async fn a_report_without_an_environment_gets_that_of_the_application() {
    let sdk = Sdk::start().await;
    let answer = sdk.envelope(super::envelope(&[("event", r#"{"message":"x"}"#)])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let incident = the_incident(&sdk).await;
    assert_eq!((&incident["application"], &incident["environment"]), (&json!("shop"), &json!("staging")));
}

#[tokio::test]
async fn a_truncated_capture_causes_no_500() {
    let sdk = Sdk::start().await;
    for (name, whole) in super::CAPTURES {
        let places = (0..40).map(|part| whole.len() * part / 40).chain(whole.len().saturating_sub(4)..whole.len());
        for at in places {
            let answer = sdk.envelope(whole.as_bytes()[..at].to_vec()).await;
            assert!([200, 400].contains(&answer.status), "{name} cut at {at}: {answer:?}");
        }
    }
    let left: i64 = sdk.stack.database.value("SELECT count(*) FROM incidents").await;
    assert!(left <= 5, "a truncated event is no event: {left}");
}

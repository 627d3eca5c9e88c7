//! Service hooks: signed with a secret of their own.

use secrecy::SecretString;
use sentry_webhook::app::SentryConfig;
use sentry_webhook::signature::sign;
use serde_json::json;

use super::{ERROR, HOOK, SECRET, changed, config, deliver, deliver_hook, occurrences, stack, stack_of};

#[tokio::test]
async fn a_service_hook_s_event_becomes_an_incident() {
    let stack = stack().await;
    let answer = deliver_hook(&stack, HOOK).await;
    assert_eq!((answer.status, &answer.body["created"]), (200, &json!(true)), "{answer:?}");
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!(incident["error_message"], "TypeError: Cannot read property 'total' of undefined");
    assert_eq!((&incident["application"], &incident["environment"]), (&json!("shop-web"), &json!("production")));
    assert!(incident["stack_trace"].as_str().unwrap().contains("checkout.js:42:17"), "{incident}");
    assert_eq!(incident["context"]["sentry_issue_id"], "4711");
    assert!(!incident.to_string().contains("203.0.113.9"));
    assert_eq!(deliver_hook(&stack, HOOK).await.body, answer.body);
    assert_eq!(occurrences(&stack).await, [1]);
}

#[tokio::test]
async fn an_event_by_service_hook_and_by_webhook_counts_once() {
    let stack = stack().await;
    let same = changed(HOOK, |it| it["event"]["eventID"] = json!("e4874d664c3540c1a32eab185f12c5ab"));
    let first = deliver_hook(&stack, &same).await;
    assert_eq!(deliver(&stack, "error", ERROR).await.body, first.body);
    assert_eq!(occurrences(&stack).await, [1]);
}

#[tokio::test]
async fn a_service_hook_is_verified_with_its_own_secret() {
    let stack = stack().await;
    for (header, secret) in [
        ("x-servicehook-signature", SECRET),
        ("x-servicehook-signature", "another"),
        ("sentry-hook-signature", super::HOOK_SECRET),
    ] {
        let signature = sign(&SecretString::from(secret), HOOK.as_bytes());
        let request = stack.request("POST", "/webhooks/sentry").header(header, signature).body(HOOK);
        assert_eq!(stack.send(request).await.status, 401, "{header} {secret}");
    }
    let closed = stack_of(SentryConfig { service_hook_secret: None, ..config() }).await;
    assert_eq!(deliver_hook(&closed, HOOK).await.status, 401);
    for body in ["", "[]", "not JSON", r#"{"event": 1}"#] {
        assert!(matches!(deliver_hook(&stack, body).await.status, 200 | 400), "{body}");
    }
}

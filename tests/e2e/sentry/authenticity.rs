//! Only deliveries that Sentry signed are accepted; a refusal has a reason and is recorded.

use harness::TestStack;
use secrecy::SecretString;
use sentry_webhook::signature::sign;
use serde_json::Value;

use super::{ERROR, EVENT_ALERT, ISSUE, SECRET, changed, deliver, stack, webhook};

#[tokio::test]
async fn only_deliveries_that_sentry_signed_are_accepted() {
    let stack = stack().await;
    let right = sign(&SecretString::from(SECRET), ERROR.as_bytes());
    let wrong = sign(&SecretString::from("another"), ERROR.as_bytes());
    for signature in [None, Some(""), Some(&wrong), Some(&right.to_uppercase()), Some(&right[..40])] {
        let mut request = stack.request("POST", "/webhooks/sentry").header("sentry-hook-resource", "error");
        if let Some(signature) = signature {
            request = request.header("sentry-hook-signature", signature);
        }
        assert_eq!(stack.send(request.body(ERROR)).await.status, 401, "{signature:?}");
    }
    let request = stack.request("POST", "/webhooks/sentry").header("sentry-hook-signature", &right);
    assert_eq!(stack.send(request.body(ERROR.replacen("4711", "4712", 1))).await.status, 401);
    assert_eq!(stack.database.count("incidents").await, 0);
}

#[tokio::test]
async fn without_a_secret_the_route_is_closed() {
    let stack = TestStack::start().await;
    assert_eq!(deliver(&stack, "error", ERROR).await.status, 401);
}

#[tokio::test]
async fn a_header_that_contradicts_the_body_and_a_body_that_is_not_json_are_refused() {
    let stack = stack().await;
    for (resource, body) in [("issue", ERROR), ("error", ISSUE), ("error", "[]"), ("error", "{"), ("error", "\u{0}")] {
        assert_eq!(deliver(&stack, resource, body).await.status, 400, "{resource}");
    }
    let both = changed(EVENT_ALERT, |it| it["data"]["error"] = Value::Null);
    assert_eq!(deliver(&stack, "event_alert", &both).await.status, 200, "null counts as missing");
    let cut = ERROR.replacen("pay(app/checkout)", "\\ud83d", 1).replace("e4874d66", "e4874d67");
    assert_eq!(deliver(&stack, "error", &cut).await.status, 200, "half an emoji");
    // Without the header, the body determines the resource.
    let request = webhook(&stack, "", ERROR);
    assert_eq!(stack.send(request).await.status, 200);
}

#[tokio::test]
async fn requests_of_ui_components_are_signed_in_another_header_and_may_be_empty() {
    let stack = stack().await;
    for body in ["", r#"{"fields": {"title": "x"}, "installationId": "1"}"#] {
        let signature = sign(&SecretString::from(SECRET), body.as_bytes());
        let request = stack.request("POST", "/webhooks/sentry").header("sentry-app-signature", signature);
        let answer = stack.send(request.header("content-type", "application/json").body(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn a_refusal_has_a_reason_and_is_recorded() {
    let stack = stack().await;
    let unsigned = stack.send(stack.request("POST", "/webhooks/sentry").body(ERROR)).await;
    assert_eq!(unsigned.headers["sentry-hook-error"], "the header Sentry-Hook-Signature is missing");
    let request = stack.request("POST", "/webhooks/sentry").header("sentry-hook-signature", "0".repeat(64));
    assert_eq!(stack.send(request.body(ERROR)).await.headers["sentry-hook-error"], "the signature is wrong");
    let mismatch = deliver(&stack, "issue", ERROR).await;
    let reason = mismatch.headers["sentry-hook-error"].to_str().unwrap();
    assert!(reason.contains("Sentry-Hook-Resource"), "{reason}");
    let large = deliver(&stack, "error", &"x".repeat(1024 * 1024 + 1)).await;
    assert_eq!((large.status, large.headers.contains_key("sentry-hook-error")), (413, true));
    assert!(!deliver(&stack, "error", ERROR).await.headers.contains_key("sentry-hook-error"));
    let database = stack.stop().await;
    let sql = "SELECT DISTINCT event_type::text FROM security_events ORDER BY 1";
    let noted: Vec<String> = database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(noted, ["bad_signature", "oversized_body"]);
}

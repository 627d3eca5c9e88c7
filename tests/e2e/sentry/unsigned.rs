//! The older `WebHooks` plugin: a secret in the path, and no signature.

use sentry_webhook::app::SentryConfig;
use sentry_webhook::legacy::PER_MINUTE;
use serde_json::json;

use super::{ERROR, LEGACY, PATH_SECRET, changed, config, deliver, deliver_unsigned, occurrences, stack, stack_of};

#[tokio::test]
async fn an_unsigned_event_becomes_an_incident_that_is_marked_as_unsigned() {
    let stack = stack().await;
    let answer = deliver_unsigned(&stack, PATH_SECRET, LEGACY).await;
    assert_eq!((answer.status, &answer.body["created"]), (200, &json!(true)), "{answer:?}");
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!(incident["context"]["unverified"], true);
    assert_eq!(incident["application"], "shop-web");
    assert_eq!(incident["context"]["triggering_rules"], json!(["Notify Watchkeeper"]));
    assert_eq!(deliver_unsigned(&stack, PATH_SECRET, LEGACY).await.body, answer.body);
    assert_eq!(occurrences(&stack).await, [1]);
}

#[tokio::test]
async fn an_unsigned_event_never_replaces_a_signed_one() {
    let same = changed(LEGACY, |it| it["event"]["event_id"] = json!("e4874d664c3540c1a32eab185f12c5ab"));
    let unsigned_first = stack().await;
    deliver_unsigned(&unsigned_first, PATH_SECRET, &same).await;
    let signed = deliver(&unsigned_first, "error", ERROR).await;
    assert_eq!((signed.status, &signed.body["created"]), (200, &json!(false)), "it belongs to the same group");
    assert_eq!(occurrences(&unsigned_first).await, [2], "the signed event is counted");
    let signed_first = stack().await;
    deliver(&signed_first, "error", ERROR).await;
    let unsigned = deliver_unsigned(&signed_first, PATH_SECRET, &same).await;
    assert_eq!(unsigned.text("ignored"), "this event was received signed already");
    assert_eq!(occurrences(&signed_first).await, [1]);
}

#[tokio::test]
async fn the_secret_in_the_path_is_required() {
    let stack = stack().await;
    for secret in ["path_secre", "path_secret1", "PATH_SECRET", "%ff", "path_secret%00", "..%2f"] {
        let answer = deliver_unsigned(&stack, secret, LEGACY).await;
        assert_eq!(answer.status, 401, "{secret}");
        assert_eq!(answer.headers["sentry-hook-error"], "the secret in the path is wrong");
    }
    assert_eq!(deliver_unsigned(&stack, "", LEGACY).await.status, 404);
    let closed = stack_of(SentryConfig { legacy_secret: None, ..config() }).await;
    for secret in [PATH_SECRET, "%20"] {
        assert_eq!(deliver_unsigned(&closed, secret, LEGACY).await.status, 401);
    }
    assert_eq!(stack.database.count("incidents").await, 0);
    let database = stack.stop().await;
    assert_eq!(database.networks_refused("WHERE event_type = 'wrong_key'").await, 1);
    let all: String = database.value("SELECT string_agg(e::text, '') FROM security_events e").await;
    assert!(!all.contains("path_secre"), "{all}");
}

#[tokio::test]
async fn unsigned_deliveries_are_rate_limited_and_signed_ones_are_not() {
    let stack = stack().await;
    let mut refused = None;
    // The minute may end in between: then the limit starts again.
    for number in 0..2 * PER_MINUTE + 1 {
        let body = json!({"id": "1", "message": format!("boom {number}")}).to_string();
        let answer = deliver_unsigned(&stack, PATH_SECRET, &body).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a process limits unsigned deliveries per minute");
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(refused.headers.contains_key("sentry-hook-error"));
    assert_eq!(deliver(&stack, "error", ERROR).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_or_not_an_object_is_refused() {
    let stack = stack().await;
    for body in ["", "[]", "not JSON", "7"] {
        assert_eq!(deliver_unsigned(&stack, PATH_SECRET, body).await.status, 400, "{body}");
    }
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    assert_eq!(deliver_unsigned(&stack, PATH_SECRET, &large).await.status, 413);
    let bare = deliver_unsigned(&stack, PATH_SECRET, r#"{"message": "boom", "project": "shop"}"#).await;
    assert_eq!((bare.status, &bare.body["created"]), (200, &json!(true)));
}

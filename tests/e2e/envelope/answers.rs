//! Refusals, and the answers that SDKs understand.

use axum::http::StatusCode;
use chrono::Utc;
use harness::{Answer, TestStack};
use serde_json::json;
use shared::dsn::{KeyVersion, PublicKey};
use shared::model::Limits;
use shared::store::applications;

use super::{Sdk, envelope, event};

fn assert_refused(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status.as_u16(), "{answer:?}");
    assert_eq!(answer.body["detail"], answer.error(), "Sentry's shape, and ours");
    assert_eq!(answer.headers["x-sentry-error"].to_str().unwrap(), answer.error());
}

#[tokio::test]
async fn only_the_project_s_own_key_is_accepted() {
    let sdk = Sdk::start().await;
    let error = envelope(&[("event", &event("let me in").to_string())]);
    let other = PublicKey::of(&TestStack::dsn_secret(), sdk.project + 1, KeyVersion::FIRST);
    for (project, query) in [
        (sdk.project.to_string(), String::new()),
        (sdk.project.to_string(), "sentry_key=".to_owned()),
        (sdk.project.to_string(), format!("sentry_key={other}")),
        (sdk.project.to_string(), format!("sentry_key={}", &sdk.key.as_str()[..31])),
        (sdk.project.to_string(), format!("sentry_key={}0", sdk.key)),
        (sdk.project.to_string(), "sentry_key=%00%ff".to_owned()),
        ((sdk.project + 1).to_string(), format!("sentry_key={}", sdk.key)),
    ] {
        for route in ["envelope/", "store/"] {
            let request = sdk.stack.request("POST", &format!("/api/{project}/{route}?{query}"));
            assert_refused(&sdk.stack.send(request.body(error.clone())).await, StatusCode::FORBIDDEN);
        }
    }
    for project in ["shop", "-1", "1.0", "99999999999999999999", "%00", "+1"] {
        let path = format!("/api/{project}/envelope/?sentry_key={}", sdk.key);
        let answer = sdk.stack.send(sdk.stack.request("POST", &path).body(error.clone())).await;
        assert_refused(&answer, StatusCode::BAD_REQUEST);
    }
    assert_eq!(sdk.incidents().await, 0);
    let database = sdk.stack.stop().await;
    assert!(database.count("security_events").await > 0, "wrong keys are recorded");
}

#[tokio::test]
async fn an_unknown_or_removed_application_is_refused() {
    let sdk = Sdk::start().await;
    let error = envelope(&[("event", &event("unknown").to_string())]);
    let unknown_key = PublicKey::of(&TestStack::dsn_secret(), 4_711, KeyVersion::FIRST);
    let request = sdk.stack.request("POST", &format!("/api/4711/envelope/?sentry_key={unknown_key}"));
    assert_refused(&sdk.stack.send(request.body(error.clone())).await, StatusCode::FORBIDDEN);
    let (store, project) = (sdk.stack.database.store(), sdk.project);
    store.run(|client| async move { applications::mark_removed(&client, project, Utc::now()).await }).await.unwrap();
    assert_refused(&sdk.envelope(error).await, StatusCode::FORBIDDEN);
    assert_eq!(sdk.incidents().await, 0);
}

#[tokio::test]
async fn over_the_quota_errors_are_rate_limited_and_nothing_else() {
    let sdk = Sdk::limited(Limits { burst: Some(2), ..Limits::default() }).await;
    for message in ["the first", "the second"] {
        assert_eq!(sdk.store(event(message).to_string()).await.status, 200);
    }
    let answer = sdk.store(event("one too many").to_string()).await;
    assert_refused(&answer, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&seconds), "{seconds}");
    let limits = answer.headers["x-sentry-rate-limits"].to_str().unwrap();
    assert_eq!(limits, format!("{seconds}:error;default:project:quota_burst"));
    let session = sdk.envelope(envelope(&[("session", "{}")])).await;
    assert_eq!(session.status, 200, "sessions are not limited");
    let check_in = json!({"monitor_slug": "nightly", "status": "ok"}).to_string();
    let both = sdk.envelope(envelope(&[("event", &event("again").to_string()), ("check_in", &check_in)])).await;
    assert_refused(&both, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(sdk.stack.database.count("check_ins").await, 1, "nor are check-ins");
    assert_eq!(sdk.incidents().await, 2);
}

#[tokio::test]
async fn an_unsupported_encoding_is_refused() {
    let sdk = Sdk::start().await;
    for encoding in ["compress", "gzip, br", "gzip,gzip", "utf-8", "*"] {
        let request = sdk.request("envelope/").header("content-encoding", encoding).body("{}");
        assert_refused(&sdk.stack.send(request).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn an_envelope_is_accepted_under_any_content_type() {
    let sdk = Sdk::start().await;
    for content_type in
        ["application/x-sentry-envelope", "text/plain", "application/json", "multipart/form-data", "\"", ""]
    {
        let request = sdk.request("envelope").header("content-type", content_type);
        assert_eq!(sdk.stack.send(request.body("{}\n")).await.status, 200, "{content_type}");
    }
}

#[tokio::test]
async fn other_methods_are_answered_as_on_other_routes() {
    let sdk = Sdk::start().await;
    for method in ["GET", "PUT", "DELETE"] {
        let answer = sdk.stack.send(sdk.stack.request(method, &format!("/api/{}/envelope/", sdk.project))).await;
        assert_eq!(answer.status, 405, "{method}");
    }
}

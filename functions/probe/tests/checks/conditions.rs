//! Conditions, evaluated on the answers of real servers.

use shared::model::{FailureReason, ServiceSpec};

use crate::server::Server;
use crate::{checker, failed, healthy, http, misconfigured, once, with_conditions};

const BODY: &str = r#"{"db":{"ok":false},"items":[{"name":"johnny"}],"mail":"someone@example.com","count":3}"#;

async fn server() -> Server {
    Server::with_body("content-type: application/json\r\n", BODY.as_bytes()).await
}

fn asking(server: &Server, conditions: &[&str]) -> ServiceSpec {
    with_conditions(http(&server.url()), conditions)
}

#[tokio::test]
async fn conditions_that_hold_are_healthy() {
    let server = server().await;
    let conditions = [
        "[STATUS] == any(200, 204)",
        "[BODY].items[0].name == pat(john*)",
        "len([BODY].items) > 0",
        "has([BODY].error) == false",
        "[HEADER].content-type == pat(*json*)",
        "[RESPONSE_TIME] < 2s",
        "[CONNECTED] == true",
        "[BODY] == pat(*count*)",
    ];
    let outcome = once(&checker(), asking(&server, &conditions)).await;
    healthy(&outcome);
    assert!(outcome.hops[0].phases.transfer.is_some());
}

#[tokio::test]
async fn a_failed_condition_is_reported_with_the_actual_value() {
    let server = server().await;
    for (condition, seen) in [
        ("[BODY].db.ok == true", "it is false"),
        ("[BODY].none == 1", "there is no such field"),
        ("[BODY].count > 3", "it is 3"),
        ("[HEADER].x-none == 1", "there is no such header"),
        ("[STATUS] == 204", "it is 200"),
        ("[CERTIFICATE_EXPIRATION] > 14d", "there is no certificate"),
    ] {
        let outcome = once(&checker(), asking(&server, &[condition])).await;
        assert_eq!(failed(&outcome), (FailureReason::Condition, &*format!("{condition}, but {seen}")));
        assert!(outcome.captured.is_some());
    }
}

#[tokio::test]
async fn actual_values_are_redacted() {
    let server = Server::with_body("", b"token=ghp_16C7e42F292c6912E7710c838347Ae178B4a and s3cret-value").await;
    let mut spec = asking(&server, &["[BODY] == ok"]);
    spec.check.headers.insert("X-Key".into(), "${PROBE_SECRET_KEY}".into());
    let outcome = once(&checker(), spec).await;
    let text = failed(&outcome).1;
    assert!(!text.contains("ghp_16C7e42") && !text.contains("s3cret-value"), "{text}");
    let captured = outcome.captured.as_ref().unwrap().to_string();
    assert!(!captured.contains("ghp_16C7e42") && !captured.contains("s3cret-value"), "{captured}");
}

#[tokio::test]
async fn actual_values_can_be_stored_whatever_the_body_is() {
    for (body, condition, seen) in [
        (&b"no\0pe"[..], "[BODY] == ok", "no\u{FFFD}pe"),
        (br#"{"db":"a\u0000b"}"#, "[BODY].db == ok", "a\u{FFFD}b"),
        (br#"{"db":["a\u0000b"]}"#, "[BODY].db == ok", ""),
        (br#"{"a\u0000":1}"#, "[BODY] == ok", ""),
        (&[0; 4_000], "[BODY] == ok", "\u{FFFD}"),
    ] {
        let server = Server::with_body("", body).await;
        let outcome = once(&checker(), asking(&server, &[condition])).await;
        let (reason, text) = failed(&outcome);
        assert_eq!(reason, FailureReason::Condition);
        assert!(text.contains(seen) && !text.contains('\0'), "{text:?}");
        let captured = outcome.captured.as_ref().unwrap();
        let kept = captured["body"].as_str().unwrap();
        assert!(!kept.contains('\0') && kept.len() <= 1_024, "{captured}");
    }
}

#[tokio::test]
async fn a_condition_on_the_status_replaces_the_expected_status() {
    let server = Server::answering("HTTP/1.1 204 No\r\n\r\n").await;
    healthy(&once(&checker(), asking(&server, &["[STATUS] == any(200, 204)"])).await);
    assert_eq!(failed(&once(&checker(), http(&server.url())).await).0, FailureReason::Status);
}

#[tokio::test]
async fn an_invalid_condition_is_a_misconfiguration() {
    let outcome = once(&checker(), with_conditions(http("http://127.0.0.1:9/"), &["[STATUS] = 200"])).await;
    let error = "condition \"[STATUS] = 200\", character 10: expected ==, !=, <, <=, > or >=";
    assert_eq!(misconfigured(&outcome), error);
}

//! HTTP checks: healthy answers, unexpected statuses, and what is captured of them.

use std::time::Duration;

use shared::model::{FailureReason, Statuses, Verdict};

use crate::server::Server;
use crate::{checker, failed, healthy, http, misconfigured, once};

#[tokio::test]
async fn a_healthy_answer_has_measured_phases() {
    let server = Server::with_body("", b"ok").await;
    let outcome = once(&checker(), http(&server.url())).await;
    healthy(&outcome);
    assert_eq!((outcome.http_status, outcome.attempts), (Some(200), 1));
    let [hop] = outcome.hops.as_slice() else { panic!("{outcome:?}") };
    assert!(hop.phases.connect.is_some() && hop.phases.first_byte.is_some(), "{hop:?}");
    assert_eq!((hop.phases.dns, hop.phases.tls, hop.phases.transfer), (None, None, None));
    assert_eq!(hop.address, Some(server.address().ip()));
    assert!(outcome.details().to_string().len() <= 150, "{}", outcome.details());
    assert!(outcome.response_time >= hop.phases.first_byte.unwrap());
}

#[tokio::test]
async fn the_request_has_the_method_headers_and_body_of_the_service() {
    let server = Server::with_body("", b"ok").await;
    let mut spec = http(&format!("http://user:p%40ss@{}/a%20b?q=1#part", server.address()));
    spec.check.method = "POST".into();
    spec.check.body = Some("key=${PROBE_SECRET_KEY}".into());
    spec.check.headers.insert("X-Key".into(), "${PROBE_SECRET_KEY}".into());
    spec.check.headers.insert("User-Agent".into(), "mine".into());
    healthy(&once(&checker(), spec).await);
    let head = server.requests().remove(0);
    assert!(head.starts_with("POST /a%20b?q=1 HTTP/1.1\r\n"), "{head}");
    for line in [
        &format!("host: {}", server.address()),
        "content-length: 16",
        "x-key: s3cret-value",
        "user-agent: mine",
        "accept-encoding: identity",
        "connection: close",
        "authorization: Basic dXNlcjpwQHNz",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_named_and_no_request_is_sent() {
    let server = Server::with_body("", b"ok").await;
    let mut spec = http(&server.url());
    spec.check.headers.insert("Authorization".into(), "Bearer ${PROBE_SECRET_OTHER}".into());
    let outcome = once(&checker(), spec).await;
    assert_eq!(misconfigured(&outcome), "the variable PROBE_SECRET_OTHER is not set");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_wrong_status_is_reported_and_the_answer_is_captured_without_secrets() {
    let body = r#"{"error":"boom","password":"hunter2hunter2","you_sent":"s3cret-value"}"#;
    let head = "HTTP/1.1 500 Oops\r\nset-cookie: session=abc\r\nx-trace: 7\r\nauthorization-echo: s3cret-value\r\n";
    let server = Server::answering(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
    let mut spec = http(&server.url());
    spec.check.headers.insert("X-Key".into(), "${PROBE_SECRET_KEY}".into());
    let outcome = once(&checker(), spec).await;
    assert_eq!(failed(&outcome), (FailureReason::Status, "status 500 instead of 200"));
    assert_eq!(outcome.http_status, Some(500));
    let captured = outcome.captured.unwrap();
    assert_eq!(captured["headers"]["x-trace"], "7");
    assert!(captured["body"].as_str().unwrap().contains("boom"), "{captured}");
    for secret in ["s3cret-value", "hunter2", "session=abc"] {
        assert!(!captured.to_string().contains(secret), "{secret} in {captured}");
    }
}

#[tokio::test]
async fn an_expected_status_is_healthy() {
    let server = Server::answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    let mut spec = http(&server.url());
    spec.check.expected_statuses = Statuses::of([200..=299, 404..=404]);
    healthy(&once(&checker(), spec.clone()).await);
    spec.check.expected_statuses = Statuses::of([200..=299]);
    let outcome = once(&checker(), spec).await;
    assert_eq!(failed(&outcome), (FailureReason::Status, "status 404 instead of 200-299"));
}

#[tokio::test]
async fn http_1_0_is_accepted_and_a_body_may_end_with_the_connection() {
    let server = Server::answering("HTTP/1.0 200 OK\r\n\r\nall is well").await;
    healthy(&once(&checker(), crate::with_conditions(http(&server.url()), &["[BODY] == pat(*well)"])).await);
}

#[tokio::test]
async fn a_slow_answer_is_degraded_and_reported_with_limit_and_latency() {
    let server = Server::start(|mut stream, seen| async move {
        seen.head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        let _gone = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 204 No\r\n\r\n").await;
    })
    .await;
    let mut spec = http(&server.url());
    spec.check.expected_statuses = Statuses::one(204);
    spec.check.degraded_above_ms = Some(50);
    let outcome = once(&checker(), spec).await;
    let failure = outcome.failure.as_ref().unwrap();
    assert_eq!((outcome.verdict, failure.reason), (Verdict::Degraded, FailureReason::Slow));
    assert!(failure.text.starts_with("answered in ") && failure.text.ends_with(", more than 50 ms"), "{failure:?}");
}

#[tokio::test]
async fn the_reported_url_contains_no_secret() {
    let server = Server::with_body("", b"ok").await;
    let outcome = once(&checker(), http(&format!("http://user:pass@{}/x?token=t", server.address()))).await;
    assert_eq!(outcome.hops[0].url, format!("http://{}/x", server.address()));
}

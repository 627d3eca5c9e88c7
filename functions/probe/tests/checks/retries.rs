//! Retries: a first failure is confirmed, a known failure is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::Utc;
use shared::model::{FailureReason, Verdict};
use tokio::io::AsyncWriteExt as _;

use crate::server::Server;
use crate::{checker, claimed, failed, healthy, http, impatient, once};

/// Fails so many times before it answers.
async fn failing(times: usize) -> Server {
    let asked = Arc::new(AtomicUsize::new(0));
    Server::start(move |mut stream, seen| {
        let asked = Arc::clone(&asked);
        async move {
            seen.head(&mut stream).await;
            let status = if asked.fetch_add(1, Ordering::SeqCst) < times { "500 No" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let _gone = stream.write_all(head.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_failure_that_a_retry_does_not_confirm_is_healthy() {
    let server = failing(2).await;
    let outcome = checker().check(&claimed(http(&server.url())), Utc::now()).await;
    healthy(&outcome);
    assert_eq!((outcome.attempts, server.requests().len()), (3, 3));
    assert_eq!(outcome.details()["attempts"], 3);
}

#[tokio::test]
async fn a_failure_is_confirmed_by_two_retries() {
    let server = failing(9).await;
    let outcome = checker().check(&claimed(http(&server.url())), Utc::now()).await;
    assert_eq!(failed(&outcome), (FailureReason::Status, "status 500 instead of 200"));
    assert_eq!((outcome.attempts, server.requests().len()), (3, 3));
}

#[tokio::test]
async fn a_known_failure_is_not_retried() {
    let server = failing(9).await;
    assert_eq!(once(&checker(), http(&server.url())).await.attempts, 1);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn attempts_share_a_deadline_of_twice_the_time_out() {
    let server = Server::start(|stream, _| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let outcome = loop {
        let outcome = checker().check(&claimed(impatient(http(&server.url()))), Utc::now()).await;
        // The process may be too busy to judge.
        if failed(&outcome).0 != FailureReason::Ours {
            break outcome;
        }
    };
    assert_eq!(failed(&outcome), (FailureReason::Timeout, "no answer within 500ms"));
    assert_eq!(outcome.attempts, 2);
}

#[tokio::test]
async fn a_misconfigured_service_is_not_retried() {
    let outcome = checker().check(&claimed(http("http://10.0.0.1/")), Utc::now()).await;
    assert_eq!((failed(&outcome).0, outcome.attempts), (FailureReason::Blocked, 1));
}

#[tokio::test]
async fn a_first_slow_answer_is_confirmed_by_a_retry() {
    let asked = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |mut stream, seen| {
        let asked = Arc::clone(&asked);
        async move {
            seen.head(&mut stream).await;
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
            let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    })
    .await;
    let mut spec = http(&server.url());
    spec.check.degraded_above_ms = Some(500);
    let outcome = checker().check(&claimed(spec), Utc::now()).await;
    assert_eq!((outcome.verdict, outcome.attempts), (Verdict::Healthy, 2));
}

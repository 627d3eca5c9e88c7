//! Servers that hang, flood, or close the connection. None exceeds the time-out, and each has its own failure reason.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use probe::check::Outcome;
use shared::model::{FailureReason, ServiceSpec};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::server::Server;
use crate::{IMPATIENT, checker, failed, healthy, http, impatient, once, with_conditions};

/// Checks it with a short time-out.
async fn once_in_time(spec: ServiceSpec) -> Outcome {
    once(&checker(), impatient(spec)).await
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let server = Server::start(|stream, _| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let outcome = once_in_time(http(&server.url())).await;
    assert_eq!(failed(&outcome), (FailureReason::Timeout, "no answer within 500ms"));
    let phases = outcome.hops[0].phases;
    assert!(phases.connect.is_some() && phases.first_byte.is_some_and(|took| took > IMPATIENT / 2), "{phases:?}");
}

#[tokio::test]
async fn slow_headers_end_at_the_deadline() {
    let server = Server::start(|mut stream, seen| async move {
        seen.head(&mut stream).await;
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-more: 1\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(failed(&once_in_time(http(&server.url())).await).0, FailureReason::Timeout);
}

#[tokio::test]
async fn an_endless_body_is_read_only_for_a_body_condition_and_only_up_to_the_limit() {
    let server = Server::start(|mut stream, seen| async move {
        seen.head(&mut stream).await;
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 8_192]).await.is_ok() {}
    })
    .await;
    healthy(&once(&checker(), http(&server.url())).await);
    let outcome = once(&checker(), with_conditions(http(&server.url()), &["[BODY] == ok"])).await;
    assert_eq!(failed(&outcome).0, FailureReason::BodyTooLarge);
}

#[tokio::test]
async fn a_slow_body_ends_at_the_deadline() {
    let server = Server::start(|mut stream, seen| async move {
        seen.head(&mut stream).await;
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let outcome = once_in_time(with_conditions(http(&server.url()), &["[BODY] == ok"])).await;
    assert_eq!(failed(&outcome).0, FailureReason::Timeout);
    assert_eq!(outcome.http_status, Some(200));
    assert!(outcome.hops[0].phases.transfer.is_some());
}

#[tokio::test]
async fn a_failed_status_is_reported_even_if_the_body_hangs() {
    let server = Server::start(|mut stream, seen| async move {
        seen.head(&mut stream).await;
        let _gone = stream.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 100\r\n\r\nbusy").await;
        std::future::pending().await
    })
    .await;
    let outcome = once(&checker(), http(&server.url())).await;
    assert_eq!(failed(&outcome).0, FailureReason::Status);
    assert_eq!(outcome.captured.as_ref().unwrap()["body"], "busy");
}

#[tokio::test]
async fn a_huge_header_and_too_many_headers_are_protocol_failures() {
    let huge = format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\n\r\n", "x".repeat(1_000_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(5_000));
    for head in [huge, many] {
        let server = Server::answering(head).await;
        let outcome = once(&checker(), http(&server.url())).await;
        assert_eq!(failed(&outcome), (FailureReason::Protocol, "the head of the answer is too long"));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_protocol_failure() {
    for bytes in ["SSH-2.0-OpenSSH_9.9\r\n", "\0\0\0\0\0\0\0\0\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n"] {
        let server = Server::answering(bytes).await;
        assert_eq!(failed(&once(&checker(), http(&server.url())).await).0, FailureReason::Protocol, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_before_or_within_the_answer_is_a_reset() {
    for bytes in ["", "HTTP/1.1 200 OK\r\nx-half: "] {
        let server = Server::answering(bytes).await;
        let outcome = once(&checker(), http(&server.url())).await;
        let expected = (FailureReason::ConnectionReset, "the connection was closed without an answer");
        assert_eq!(failed(&outcome), expected, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_connection_reset_within_the_body_is_a_reset() {
    let server = Server::start(|mut stream, seen| async move {
        seen.head(&mut stream).await;
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
        // Unread data makes the system reset the connection.
        let _reset = stream.set_zero_linger();
    })
    .await;
    let outcome = once(&checker(), with_conditions(http(&server.url()), &["[BODY] == ok"])).await;
    assert_eq!(failed(&outcome), (FailureReason::ConnectionReset, "the connection was closed within the body"));
    healthy(&once(&checker(), http(&server.url())).await);
}

#[tokio::test]
async fn a_closed_port_refuses_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(failed(&once(&checker(), http(&url)).await), (FailureReason::ConnectionRefused, "connection refused"));
}

#[tokio::test]
async fn a_service_on_ipv6_only_is_reached() {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let server = Server::start_at(address, |mut stream, seen| async move {
        seen.head(&mut stream).await;
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    })
    .await;
    healthy(&once(&checker(), http(&server.url())).await);
    // The name has an IPv4 address too, on which no server listens.
    let outcome = once(&checker(), http(&format!("http://localhost:{}/", server.address().port()))).await;
    healthy(&outcome);
    assert_eq!(outcome.hops[0].address, Some(Ipv6Addr::LOCALHOST.into()));
}

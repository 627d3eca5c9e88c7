//! Redirects: loops, blocked targets, and other hosts.

use shared::model::{FailureReason, Statuses};

use crate::server::Server;
use crate::{checker, failed, healthy, http, once};

async fn redirecting(status: u16, to: &str) -> Server {
    Server::answering(format!("HTTP/1.1 {status} Moved\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")).await
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let server = redirecting(302, "/health").await;
    let outcome = once(&checker(), http(&server.url())).await;
    assert_eq!(failed(&outcome), (FailureReason::Redirect, "too many redirects"));
    assert_eq!((server.requests().len(), outcome.hops.len()), (6, 6));
}

#[tokio::test]
async fn redirects_are_not_followed_where_the_limit_is_zero() {
    let server = redirecting(302, "/health").await;
    let mut spec = http(&server.url());
    spec.check.max_redirects = 0;
    assert_eq!(failed(&once(&checker(), spec).await).0, FailureReason::Redirect);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_expected_redirect_status_is_healthy() {
    let server = redirecting(301, "https://169.254.169.254/").await;
    let mut spec = http(&server.url());
    spec.check.expected_statuses = Statuses::one(301);
    let outcome = once(&checker(), spec).await;
    healthy(&outcome);
    assert_eq!((outcome.http_status, server.requests().len()), (Some(301), 1));
}

#[tokio::test]
async fn a_redirect_to_a_blocked_address_is_not_followed() {
    for (to, host) in [
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254"),
        ("http://10.0.0.1/", "10.0.0.1"),
        ("http://0x0a000001/", "10.0.0.1"),
        ("http://[::ffff:169.254.169.254]/", "169.254.169.254"),
        ("http://[fd00:ec2::254]/", "fd00:ec2::254"),
        ("//192.168.1.1/", "192.168.1.1"),
    ] {
        let server = redirecting(302, to).await;
        let outcome = once(&checker(), http(&server.url())).await;
        let (reason, text) = failed(&outcome);
        assert_eq!(reason, FailureReason::Blocked, "{to}");
        assert!(text.contains("(redirected to "), "{text}");
        assert!(!host.is_empty());
        assert_eq!(outcome.http_status, Some(302));
        assert_eq!(outcome.hops.len(), 2);
    }
}

#[tokio::test]
async fn each_hop_is_timed_and_credentials_are_not_sent_to_another_host() {
    let target = Server::with_body("", b"ok").await;
    let origin = redirecting(307, &format!("http://{}/there", target.address())).await;
    let mut spec = http(&origin.url());
    spec.check.headers.insert("Authorization".into(), "Bearer abc".into());
    spec.check.headers.insert("X-Hidden".into(), "${PROBE_SECRET_KEY}".into());
    spec.check.headers.insert("X-Plain".into(), "yes".into());
    let outcome = once(&checker(), spec).await;
    healthy(&outcome);
    assert_eq!(outcome.hops.iter().map(|hop| hop.status).collect::<Vec<_>>(), [Some(307), Some(200)]);
    assert!(outcome.hops.iter().all(|hop| hop.phases.first_byte.is_some()));
    let (first, second) = (origin.requests().remove(0), target.requests().remove(0));
    assert!(first.contains("authorization: Bearer abc") && first.contains("s3cret-value"), "{first}");
    assert!(!second.contains("authorization") && !second.contains("s3cret-value"), "{second}");
    assert!(second.contains("x-plain: yes") && second.starts_with("GET /there "), "{second}");
    assert!(second.contains(&format!("host: {}", target.address())), "{second}");
}

#[tokio::test]
async fn a_failure_of_another_host_names_that_host() {
    let closed_port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = redirecting(302, &format!("http://{closed_port}/")).await;
    let outcome = once(&checker(), http(&server.url())).await;
    let expected = (FailureReason::ConnectionRefused, "connection refused (redirected to 127.0.0.1)");
    assert_eq!(failed(&outcome), expected);
}

#[tokio::test]
async fn a_redirect_without_a_valid_target_is_reported() {
    for to in ["ftp://x/", "http://", "javascript:alert(1)"] {
        let server = redirecting(302, to).await;
        assert_eq!(failed(&once(&checker(), http(&server.url())).await).0, FailureReason::Redirect, "{to}");
    }
    // Without a location, the status decides.
    let server = Server::answering("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(failed(&once(&checker(), http(&server.url())).await).0, FailureReason::Status);
}

#[tokio::test]
async fn a_very_long_url_is_truncated() {
    let server = redirecting(302, &format!("http://{}/", "a.".repeat(10_000))).await;
    let outcome = once(&checker(), http(&server.url())).await;
    let text = failed(&outcome).1;
    assert!(text.len() < 500 && outcome.details().to_string().len() < 1_000, "{text}");
}

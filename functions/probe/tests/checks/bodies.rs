//! Compressed bodies that were not requested, and bodies that exceed the size limit.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use shared::model::FailureReason;

use crate::server::Server;
use crate::{checker, failed, healthy, http, once, with_conditions};

fn gzip(pieces: usize, piece: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..pieces {
        encoder.write_all(piece).unwrap();
    }
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_body_is_decoded() {
    let server = Server::with_body("content-encoding: gzip\r\n", &gzip(1, br#"{"db":{"ok":true}}"#)).await;
    healthy(&once(&checker(), with_conditions(http(&server.url()), &["[BODY].db.ok == true"])).await);
}

#[tokio::test]
async fn a_decompression_bomb_fails_as_body_too_large() {
    let bomb = gzip(320, &[0; 65_536]);
    assert!(bomb.len() < 64 * 1024, "20 MiB in {} bytes", bomb.len());
    let server = Server::with_body("content-encoding: gzip\r\n", &bomb).await;
    let outcome = once(&checker(), with_conditions(http(&server.url()), &["[BODY] == ok"])).await;
    assert_eq!(failed(&outcome).0, FailureReason::BodyTooLarge);
    healthy(&once(&checker(), http(&server.url())).await);
}

#[tokio::test]
async fn a_decompression_bomb_with_a_failed_status_is_captured_truncated() {
    let bomb = gzip(320, b"all work and no play makes jack a dull boy. ");
    let mut bytes = b"HTTP/1.1 500 No\r\ncontent-encoding: gzip\r\n\r\n".to_vec();
    bytes.extend(&bomb);
    let server = Server::answering(bytes).await;
    let outcome = once(&checker(), http(&server.url())).await;
    assert_eq!(failed(&outcome).0, FailureReason::Status);
    let captured = outcome.captured.as_ref().unwrap();
    let body = captured["body"].as_str().unwrap();
    assert!(body.starts_with("all work") && body.len() <= 1_024, "{body}");
}

#[tokio::test]
async fn a_body_of_64_kb_is_read_and_one_byte_more_is_too_large() {
    let whole = "x".repeat(64 * 1024);
    let server = Server::with_body("", whole.as_bytes()).await;
    healthy(&once(&checker(), with_conditions(http(&server.url()), &["len([BODY]) == 65536"])).await);
    let server = Server::with_body("", format!("{whole}x").as_bytes()).await;
    let outcome = once(&checker(), with_conditions(http(&server.url()), &["len([BODY]) > 1"])).await;
    assert_eq!(failed(&outcome).0, FailureReason::BodyTooLarge);
}

#[tokio::test]
async fn a_body_that_can_not_be_decoded_is_a_protocol_failure() {
    for (head, body) in [("content-encoding: gzip\r\n", &b"nonsense"[..]), ("content-encoding: br\r\n", b"ok")] {
        let server = Server::with_body(head, body).await;
        let outcome = once(&checker(), with_conditions(http(&server.url()), &["[BODY] == ok"])).await;
        assert_eq!(failed(&outcome).0, FailureReason::Protocol, "{head}");
    }
}

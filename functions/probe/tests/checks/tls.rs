//! TLS checks: valid and invalid certificates, and when they expire.

use chrono::{DateTime, Utc};
use shared::model::{FailureReason, Kind};
use tokio::io::AsyncWriteExt as _;

use crate::certificates::{Authority, Identity, TlsServer};
use crate::server::Server;
use crate::{checker, checker_trusting, failed, healthy, http, impatient, once, spec, with_conditions};

fn beginning_of(year: i32) -> Option<DateTime<Utc>> {
    Some(format!("{year}-01-01T00:00:00Z").parse().unwrap())
}

#[tokio::test]
async fn a_valid_certificate_is_trusted_and_its_expiry_is_known() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.sign(&["localhost", "127.0.0.1"], 2040)).await;
    let checker = checker_trusting(&authority.pem());
    for url in [format!("https://localhost:{}/", server.address.port()), format!("https://{}/", server.address)] {
        let outcome = once(&checker, http(&url)).await;
        healthy(&outcome);
        assert_eq!(outcome.certificate_expires_at, beginning_of(2040));
        assert!(outcome.hops[0].phases.tls.is_some());
    }
    let conditions = ["[CERTIFICATE_EXPIRATION] > 14d", "[CONNECTED] == true"];
    healthy(&once(&checker, with_conditions(spec(Kind::Tls, &server.address.to_string()), &conditions)).await);
}

#[tokio::test]
async fn the_earliest_expiry_of_the_chain_counts() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.sign(&["localhost"], 2100)).await;
    let target = format!("localhost:{}", server.address.port());
    let outcome = once(&checker_trusting(&authority.pem()), spec(Kind::Tls, &target)).await;
    healthy(&outcome);
    assert_eq!(outcome.certificate_expires_at, beginning_of(2041));
}

#[tokio::test]
async fn an_expired_certificate_outside_of_the_chain_does_not_count() {
    let authority = Authority::new();
    let identity = authority.sign(&["localhost"], 2040).beside(&authority.sign(&["old.example"], 2021));
    let server = TlsServer::start(identity).await;
    let target = format!("localhost:{}", server.address.port());
    let outcome = once(&checker_trusting(&authority.pem()), spec(Kind::Tls, &target)).await;
    healthy(&outcome);
    assert_eq!(outcome.certificate_expires_at, beginning_of(2040));
}

#[tokio::test]
async fn an_untrusted_certificate_is_reported_and_its_expiry_is_known() {
    let authority = Authority::new();
    let expired = authority.sign(&["localhost"], 2021);
    let other_name = authority.sign(&["other.example"], 2040);
    let self_signed = Identity::self_signed(&["localhost"]);
    let other_authority = Authority::new().sign(&["localhost"], 2040);
    for (identity, words, until) in [
        (expired, "has expired", 2021),
        (other_name, "not for this name", 2040),
        (self_signed, "issuer is not trusted", 2040),
        (other_authority, "BadSignature", 2040),
    ] {
        let server = TlsServer::start(identity).await;
        let port = server.address.port();
        let checker = checker_trusting(&authority.pem());
        for spec in [http(&format!("https://localhost:{port}/")), spec(Kind::Tls, &format!("localhost:{port}"))] {
            let outcome = once(&checker, spec).await;
            let (reason, text) = failed(&outcome);
            assert_eq!(reason, FailureReason::Tls, "{text}");
            assert!(text.starts_with("TLS failed: ") && text.contains(words), "{text}");
            assert_eq!(outcome.certificate_expires_at, beginning_of(until), "{text}");
        }
    }
}

#[tokio::test]
async fn the_public_roots_do_not_verify_localhost() {
    let server = TlsServer::start(Authority::new().sign(&["localhost"], 2040)).await;
    let outcome = once(&checker(), http(&format!("https://localhost:{}/", server.address.port()))).await;
    assert_eq!(failed(&outcome).0, FailureReason::Tls);
}

#[tokio::test]
async fn a_certificate_that_expires_soon_fails_only_the_condition_on_it() {
    let authority = Authority::new();
    let server = TlsServer::start(authority.sign(&["localhost"], 2040)).await;
    let target = format!("localhost:{}", server.address.port());
    let condition = "[CERTIFICATE_EXPIRATION] > 36500d";
    let spec = with_conditions(spec(Kind::Tls, &target), &[condition]);
    let outcome = once(&checker_trusting(&authority.pem()), spec).await;
    let (reason, text) = failed(&outcome);
    assert_eq!(reason, FailureReason::Condition);
    assert!(text.starts_with(&format!("{condition}, but it is ")) && text.ends_with('h'), "{text}");
}

#[tokio::test]
async fn no_tls_and_a_connection_closed_within_the_handshake_are_failures() {
    let server = Server::start(|mut stream, _| async move {
        let _gone = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
        std::future::pending().await
    })
    .await;
    let outcome = once(&checker(), spec(Kind::Tls, &server.address().to_string())).await;
    assert_eq!(failed(&outcome).0, FailureReason::Tls);
    let server = Server::start(|stream, _| async move { drop(stream) }).await;
    let outcome = once(&checker(), http(&format!("https://{}/", server.address()))).await;
    assert_eq!(failed(&outcome).0, FailureReason::ConnectionReset);
}

#[tokio::test]
async fn a_handshake_that_hangs_times_out() {
    let server = Server::start(|stream, _| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let outcome = once(&checker(), impatient(spec(Kind::Tls, &server.address().to_string()))).await;
    assert_eq!(failed(&outcome), (FailureReason::Timeout, "no answer within 500ms"));
    assert!(outcome.hops[0].phases.tls.is_some());
}

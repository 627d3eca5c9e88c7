//! The `tcp` kind: a port accepts a connection or not.

use shared::model::{FailureReason, Kind, Verdict};
use tokio::net::TcpListener;

use crate::{checker, failed, healthy, once, spec, with_conditions};

#[tokio::test]
async fn an_accepted_connection_is_healthy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let conditions = ["[CONNECTED] == true", "[IP] == any(127.0.0.1, ::1)", "[RESPONSE_TIME] < 5s"];
    let outcome = once(&checker(), with_conditions(spec(Kind::Tcp, &address.to_string()), &conditions)).await;
    healthy(&outcome);
    assert!(outcome.hops[0].phases.connect.is_some());
    let other = with_conditions(spec(Kind::Tcp, &address.to_string()), &["[IP] == 127.0.0.2"]);
    let outcome = once(&checker(), other).await;
    assert_eq!(failed(&outcome), (FailureReason::Condition, "[IP] == 127.0.0.2, but it is 127.0.0.1"));
}

#[tokio::test]
async fn a_closed_port_refuses_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let outcome = once(&checker(), spec(Kind::Tcp, &address.to_string())).await;
    assert_eq!(failed(&outcome), (FailureReason::ConnectionRefused, "connection refused"));
}

#[tokio::test]
async fn special_addresses_are_blocked_in_every_notation() {
    for target in ["10.0.0.1:80", "169.254.169.254:80", "[::]:80", "[::ffff:10.0.0.1]:80", "0xa9.254.43518:80", "0:80"]
    {
        let outcome = once(&checker(), spec(Kind::Tcp, target)).await;
        assert_eq!(failed(&outcome).0, FailureReason::Blocked, "{target}");
        assert!(!outcome.is_ours() && outcome.verdict == Verdict::Failed);
    }
}

#[tokio::test]
async fn the_runtime_api_of_our_own_lambda_is_blocked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let variable = address.clone();
    let lookup = move |name: &str| (name == "AWS_LAMBDA_RUNTIME_API").then(|| variable.clone());
    let secrets = shared::config::Secrets::from_lookup(lookup);
    let checker = probe::check::Checker::new(probe::check::CheckerConfig { secrets, ..crate::config() }).unwrap();
    for spec in
        [spec(Kind::Tcp, &address), crate::http(&format!("http://{address}/2018-06-01/runtime/invocation/next"))]
    {
        let outcome = once(&checker, spec).await;
        let (reason, text) = failed(&outcome);
        assert_eq!(reason, FailureReason::Blocked);
        assert!(text.contains("the Runtime API of this Lambda"), "{text}");
    }
}

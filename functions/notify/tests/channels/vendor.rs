//! A vendor's server, and how it answers.

use std::time::Duration;

use notify::channel::{Channels, ChannelsConfig, Delivery, SendError, Sent};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// A server that gives this answer to everything.
pub(crate) async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// All that it was asked.
pub(crate) async fn requests(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

/// The JSON of the only request.
pub(crate) async fn only_body(server: &MockServer) -> Value {
    let requests = requests(server).await;
    assert_eq!(requests.len(), 1);
    requests[0].body_json().unwrap()
}

pub(crate) async fn send(config: &ChannelsConfig, delivery: &Delivery) -> Result<Sent, SendError> {
    Channels::new(config.clone()).unwrap().send(delivery, Duration::from_secs(30)).await
}

/// What became of a message, as one word and what counts of it.
pub(crate) fn outcome(result: &Result<Sent, SendError>) -> (&'static str, Option<u16>, Option<u64>) {
    match result {
        Ok(sent) => ("sent", sent.status, None),
        Err(SendError::Later { status, after, .. }) => ("later", *status, after.map(|after| after.as_secs())),
        Err(SendError::Refused { status, .. }) => ("refused", *status, None),
        Err(SendError::NotConfigured(_)) => ("not configured", None, None),
    }
}

/// What is made of the answers that every vendor may give. `config` makes the channel of a server's address.
pub(crate) async fn judges_every_answer(delivery: &Delivery, config: impl Fn(&str) -> ChannelsConfig) {
    for (answer, expected) in [
        (ResponseTemplate::new(400).set_body_string("bad"), ("refused", Some(400), None)),
        (ResponseTemplate::new(401), ("refused", Some(401), None)),
        (ResponseTemplate::new(404), ("refused", Some(404), None)),
        (ResponseTemplate::new(408), ("later", Some(408), None)),
        (ResponseTemplate::new(425), ("later", Some(425), None)),
        (ResponseTemplate::new(429).insert_header("retry-after", "17"), ("later", Some(429), Some(17))),
        (ResponseTemplate::new(500), ("later", Some(500), None)),
        (ResponseTemplate::new(503).insert_header("retry-after", "120"), ("later", Some(503), Some(120))),
        (ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/"), ("refused", Some(302), None)),
    ] {
        let server = answering(answer).await;
        let result = send(&config(&server.uri()), delivery).await;
        let (word, status, after) = outcome(&result);
        // A channel may wait longer than it was asked to.
        assert_eq!((word, status), (expected.0, expected.1), "{result:?}");
        assert!(after >= expected.2, "{result:?}");
        assert_shows_no_secret(&result, &server.uri());
    }
    hangs(delivery, &config).await;
    breaks(delivery, &config).await;
    is_unavailable(delivery, &config).await;
}

async fn hangs(delivery: &Delivery, config: &impl Fn(&str) -> ChannelsConfig) {
    let server = answering(ResponseTemplate::new(200).set_delay(Duration::from_secs(60))).await;
    let channels = Channels::new(config(&server.uri())).unwrap();
    let result = channels.send(delivery, Duration::from_millis(200)).await;
    assert_eq!(outcome(&result).0, "later", "{result:?}");
    assert!(format!("{result:?}").contains("did not answer in time"), "{result:?}");
    assert_shows_no_secret(&result, &server.uri());
}

/// The request is taken, and the connection ends without an answer.
async fn breaks(delivery: &Delivery, config: &impl Fn(&str) -> ChannelsConfig) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 64];
            let _ = stream.read(&mut some).await;
        }
    });
    let result = send(&config(&uri), delivery).await;
    assert_eq!(outcome(&result), ("later", None, None), "{result:?}");
    assert_shows_no_secret(&result, &uri);
}

async fn is_unavailable(delivery: &Delivery, config: &impl Fn(&str) -> ChannelsConfig) {
    let uri = format!("http://{}", TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap());
    let result = send(&config(&uri), delivery).await;
    assert_eq!(outcome(&result), ("later", None, None), "{result:?}");
    assert!(format!("{result:?}").contains("connection refused"), "{result:?}");
    assert_shows_no_secret(&result, &uri);
}

fn assert_shows_no_secret(result: &Result<Sent, SendError>, uri: &str) {
    let shown = format!("{result:?} {}", result.as_ref().err().map(ToString::to_string).unwrap_or_default());
    let host = uri.trim_start_matches("http://");
    assert!(!shown.contains(host) && !shown.contains("SECRET"), "{shown}");
}

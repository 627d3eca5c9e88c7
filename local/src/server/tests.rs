//! Slow, silent and many clients, on real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::{ConnectionLimits, serve};

/// The deadline of every expectation.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);

struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// Lets one request to `/slow` be answered.
    slow: Arc<Notify>,
    /// A request to `/slow` is in progress.
    began: Arc<Notify>,
}

impl Server {
    async fn start(limits: ConnectionLimits) -> Self {
        let (slow, began) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let waiting = (Arc::clone(&slow), Arc::clone(&began));
        let router = Router::new()
            .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
            .route("/large", get(async || vec![b'x'; 64 * 1024 * 1024]))
            .route("/body", post(async |body: Bytes| body.len().to_string()))
            .route(
                "/slow",
                get(async move || {
                    waiting.1.notify_one();
                    waiting.0.notified().await;
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, router, limits, stopped));
        Self { address, stop, task, slow, began }
    }

    /// A connection on which these bytes were sent.
    async fn sent(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer to a request, on a connection of its own.
    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        until_closed(&mut self.sent(&request).await).await
    }
}

/// Reads until the server closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await;
    // A client that is disconnected in the middle gets a reset.
    drop(read.expect("the connection should be closed"));
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn incomplete_headers_time_out() {
    let server = Server::start(ConnectionLimits { connections: 100, header: SHORT, transfer: LONG }).await;
    for begun in ["", "P", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-a: "] {
        assert_eq!(until_closed(&mut server.sent(begun).await).await, "", "{begun:?}");
    }
    // HTTP/2 is not supported: its preface is refused.
    let answer = until_closed(&mut server.sent("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    let mut idle = server.sent("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(until_closed(&mut idle).await.starts_with("HTTP/1.1 200 OK\r\n"), "and then it was idle");
}

#[tokio::test]
async fn a_slow_header_does_not_extend_its_timeout() {
    let server = Server::start(ConnectionLimits { connections: 100, header: SHORT, transfer: LONG }).await;
    let stream = server.sent("GET / HTTP/1.1\r\nX-a: ").await;
    let (mut reader, mut writer) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut text)).await;
    drop(read.expect("the connection should be closed"));
    assert!(text.is_empty());
    tokio::time::timeout(PATIENCE, trickle).await.expect("nothing more can be written").unwrap();
}

#[tokio::test]
async fn others_are_served_although_more_clients_hang_than_there_are_places() {
    let server = Server::start(ConnectionLimits { connections: 8, header: LONG, transfer: LONG }).await;
    let body = "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{";
    let large = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    let idle = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for hanging in ["", "GET / HT", body, large, idle] {
        let mut clients = Vec::new();
        for _ in 0..40 {
            clients.push(server.sent(hanging).await);
        }
        for _ in 0..3 {
            let answer = tokio::time::timeout(PATIENCE, server.get("/")).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{hanging:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_request_in_progress_is_answered_although_others_wait_for_its_connection() {
    let server = Server::start(ConnectionLimits { connections: 2, header: LONG, transfer: SHORT }).await;
    let request = "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut working = Vec::new();
    for _ in 0..2 {
        working.push(server.sent(request).await);
        server.began.notified().await;
    }
    let mut hanging = Vec::new();
    for _ in 0..20 {
        hanging.push(server.sent("GET / HT").await);
    }
    // Longer than the timeout of a client.
    tokio::time::sleep(SHORT * 3).await;
    for stream in &mut working {
        server.slow.notify_one();
        assert!(until_closed(stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert!(server.get("/").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn an_unread_answer_and_an_incomplete_body_time_out() {
    let server = Server::start(ConnectionLimits { connections: 100, header: LONG, transfer: SHORT }).await;
    for begun in [
        "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ] {
        let mut stream = server.sent(begun).await;
        // A closed connection answers further bytes with a reset.
        let until_reset = async {
            while stream.write_all(b"\r\n").await.is_ok() {
                tokio::time::sleep(SHORT / 10).await;
            }
        };
        tokio::time::timeout(PATIENCE, until_reset).await.unwrap_or_else(|_| panic!("still there: {begun:?}"));
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_last_answer_and_accepts_no_connection() {
    let server = Server::start(ConnectionLimits { connections: 100, header: LONG, transfer: LONG }).await;
    let mut idle = server.sent("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.unwrap();
    let mut last = server.sent("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.began.notified().await;
    server.stop.send(true).unwrap();
    until_closed(&mut idle).await;
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished());
    server.slow.notify_one();
    assert!(until_closed(&mut last).await.starts_with("HTTP/1.1 200 OK\r\n"));
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap();
}

//! A server that handles each connection as the test scripts it, and records the requests.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server on a free port; stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// The heads of the recorded requests.
#[derive(Clone)]
pub(crate) struct RecordedRequests(Arc<Mutex<Vec<String>>>);

impl RecordedRequests {
    /// Reads the head of a request.
    pub(crate) async fn head(&self, stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        let head = String::from_utf8(head).unwrap();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        head
    }
}

impl Server {
    /// Starts a server that handles each connection with this.
    pub(crate) async fn start<F, R>(serve: F) -> Self
    where
        F: Fn(TcpStream, RecordedRequests) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), serve).await
    }

    /// The same on another address.
    pub(crate) async fn start_at<F, R>(address: SocketAddr, serve: F) -> Self
    where
        F: Fn(TcpStream, RecordedRequests) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = RecordedRequests(Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, seen.clone()));
            }
        });
        Self { address, requests, task }
    }

    /// Answers each request with these bytes, and closes the connection.
    pub(crate) async fn answering(bytes: impl AsRef<[u8]> + Send + Sync + Clone + 'static) -> Self {
        Self::start(move |mut stream, seen| {
            let bytes = bytes.clone();
            async move {
                seen.head(&mut stream).await;
                let _gone = stream.write_all(bytes.as_ref()).await;
                let _gone = stream.shutdown().await;
            }
        })
        .await
    }

    /// Answers each request with 200, these further header lines and this body.
    pub(crate) async fn with_body(head: &str, body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{head}\r\n", body.len()).into_bytes();
        bytes.extend(body);
        Self::answering(bytes).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    /// The heads of all requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! A receiver: a real HTTP server that records its requests, and answers as configured.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::net::TcpListener;

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) body: Value,
}

impl Got {
    /// `firing`, `resolved`, … of the signed webhook.
    pub(crate) fn kind(&self) -> &str {
        self.body["data"]["kind"].as_str().unwrap_or_default()
    }

    /// The first problem's title.
    pub(crate) fn title(&self) -> &str {
        self.body["data"]["problems"][0]["title"].as_str().unwrap_or_default()
    }

    pub(crate) fn dedup_key(&self) -> &str {
        self.body["data"]["dedup_key"].as_str().unwrap_or_default()
    }
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(u16),
    /// 429 with `Retry-After`.
    Later(u64),
    /// The connection ends without an answer.
    Hang,
}

#[derive(Default)]
struct Inner {
    got: Mutex<Vec<Got>>,
    next: Mutex<VecDeque<Reply>>,
    always: Mutex<Option<Reply>>,
}

/// The server.
pub(crate) struct Inbox {
    address: String,
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inbox {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner::default());
        let router = Router::new().fallback(take).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inner, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Answers the next requests in this order; those after them with 200.
    pub(crate) fn answer(&self, replies: &[Reply]) {
        self.inner.next.lock().unwrap().extend(replies);
    }

    /// Answers all requests like this, until the next call.
    pub(crate) fn always(&self, reply: Option<Reply>) {
        *self.inner.always.lock().unwrap() = reply;
    }

    /// All requests, accepted or not.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.inner.got.lock().unwrap().clone()
    }

    /// The kinds of the requests, as one text.
    pub(crate) fn kinds(&self) -> String {
        self.got().iter().map(Got::kind).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn forget(&self) {
        self.inner.got.lock().unwrap().clear();
    }

    /// Waits for this number of requests.
    pub(crate) async fn wait_for(&self, count: usize) {
        let began = Instant::now();
        while self.got().len() < count {
            assert!(began.elapsed() < Duration::from_secs(90), "only {:?}", self.got());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn take(State(inner): State<Arc<Inner>>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    inner.got.lock().unwrap().push(Got { path: uri.path().to_owned(), id, body });
    let reply = inner.next.lock().unwrap().pop_front().or(*inner.always.lock().unwrap());
    match reply.unwrap_or(Reply::Status(200)) {
        Reply::Status(status) => (StatusCode::from_u16(status).unwrap(), "ok").into_response(),
        Reply::Later(seconds) => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], "later").into_response()
        }
        Reply::Hang => std::future::pending().await,
    }
}

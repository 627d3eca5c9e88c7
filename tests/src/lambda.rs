//! A Lambda environment for one of our real binaries: the Runtime API on a free port, and the process on it.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::database::as_agent;

/// The key that [`Lambda::request`] sends.
pub const KEY: &str = "key-of-the-tests";

/// The time-out of an invocation.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running function; its process ends when this is dropped.
pub struct Lambda {
    events: mpsc::Sender<Value>,
    results: Mutex<mpsc::Receiver<Result<Value, Value>>>,
    process: Child,
    logs: JoinHandle<Vec<String>>,
}

struct Runtime {
    events: Mutex<mpsc::Receiver<Value>>,
    results: mpsc::Sender<Result<Value, Value>>,
}

impl Lambda {
    /// Starts the binary of this function with this environment (and nothing else of ours).
    pub async fn start(function: &str, environment: &[(&str, &str)]) -> Self {
        let (events, waiting) = mpsc::channel(1);
        let (results, done) = mpsc::channel(1);
        let runtime = Arc::new(Runtime { events: Mutex::new(waiting), results });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there should be a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failure))
            .route("/2020-01-01/extension/register", post(register))
            .route("/2020-01-01/extension/event/next", get(std::future::pending::<StatusCode>))
            .with_state(runtime);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut process = Command::new(binary(function))
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/test")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "test")
            // A busy machine needs longer time-outs than production; a test may set shorter ones.
            .env("STORE_BUDGET_MS", "5000")
            .env("PUBLISH_BUDGET_MS", "5000")
            .envs(environment.iter().map(|(name, value)| match *name {
                "DATABASE_URL" => (*name, as_agent(value)),
                _ => (*name, (*value).to_owned()),
            }))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the function's binary should start");
        let mut lines = BufReader::new(process.stdout.take().expect("its output is piped")).lines();
        let logs = tokio::spawn(async move {
            let mut logs = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                logs.push(line);
            }
            logs
        });
        Self { events, results: Mutex::new(done), process, logs }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Terminates it as Lambda does, by SIGTERM; its exit code, and all log lines.
    pub async fn terminate(mut self) -> (Option<i32>, Vec<String>) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).expect("the function should be running");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("the function can be signalled");
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("the function should end");
        let logs = self.logs.await.expect("its output can be read");
        (status.expect("the function can be waited for").code(), logs)
    }

    /// Invokes it; `Err` is the error that a failed invocation reports.
    ///
    /// # Errors
    /// The function's own error.
    pub async fn invoke(&self, event: Value) -> Result<Value, Value> {
        self.events.send(event).await.expect("the function should take events");
        let result = tokio::time::timeout(PATIENCE, async { self.results.lock().await.recv().await });
        result.await.expect("the invocation should end in time").expect("the function should answer")
    }

    /// Sends an HTTP request as API Gateway's HTTP API does (payload version 2.0); status and JSON body.
    pub async fn request(&self, method: &str, path: &str, body: Option<&str>, is_base64: bool) -> (u64, Value) {
        let event = json!({
            "version": "2.0",
            "routeKey": format!("{method} {path}"),
            "rawPath": path,
            "rawQueryString": "",
            "headers": {
                "content-type": "application/json", "host": "abc.execute-api.eu-west-1.amazonaws.com",
                "authorization": format!("Bearer {KEY}"),
            },
            "requestContext": {
                "accountId": "123456789012", "apiId": "abc", "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
                "domainPrefix": "abc", "requestId": "JKJaXmPLvHcESHA=", "routeKey": format!("{method} {path}"),
                "stage": "$default", "time": "23/Nov/2026:10:00:00 +0000", "timeEpoch": 1_795_428_000_000_u64,
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "test"},
            },
            "body": body,
            "isBase64Encoded": is_base64,
        });
        let answer = self.invoke(event).await.expect("an HTTP function answers every request");
        let body = answer["body"].as_str().unwrap_or("null");
        (answer["statusCode"].as_u64().unwrap_or(0), serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// The binary beside this test's own.
fn binary(function: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let found = test.ancestors().map(|folder| folder.join(function)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("the binary `{function}` is not built: run `make test`, or `cargo build --workspace --bins`")
    })
}

async fn next(State(runtime): State<Arc<Runtime>>) -> Response {
    let Some(event) = runtime.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = chrono::Utc::now().timestamp_millis() + 30_000;
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", uuid::Uuid::new_v4().to_string()),
        ("Lambda-Runtime-Deadline-Ms", deadline.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:123456789012:function:test".to_owned()),
        ("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned()),
    ];
    let headers: HeaderMap = headers
        .into_iter()
        .map(|(name, value)| (name.parse().expect("a header's name"), value.parse().expect("a header's value")))
        .collect();
    (headers, axum::Json(event)).into_response()
}

/// The runtime registers an extension of its own, without which Lambda sends no SIGTERM.
async fn register() -> Response {
    (
        [("lambda-extension-identifier", "test")],
        axum::Json(json!({"functionName": "test", "functionVersion": "$LATEST", "handler": "bootstrap"})),
    )
        .into_response()
}

async fn response(State(runtime): State<Arc<Runtime>>, Path(_): Path<String>, body: String) -> StatusCode {
    finish(&runtime, Ok(serde_json::from_str(&body).unwrap_or(Value::Null))).await
}

async fn failure(State(runtime): State<Arc<Runtime>>, Path(_): Path<String>, body: String) -> StatusCode {
    finish(&runtime, Err(serde_json::from_str(&body).unwrap_or(Value::Null))).await
}

async fn finish(runtime: &Runtime, result: Result<Value, Value>) -> StatusCode {
    // Fails only when the test has ended.
    let _ = runtime.results.send(result).await;
    StatusCode::ACCEPTED
}

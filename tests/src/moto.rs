//! AWS for tests: moto's server on a free port, with a bus and a queue for its events.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// Where `make` installs moto, relative to the project's folder.
const MOTO: &str = ".tools/moto";

/// The server; nothing is stored; stops when dropped.
pub struct Moto {
    url: String,
    http: reqwest::Client,
    _process: Child,
}

impl Moto {
    /// The region that everything here is in.
    pub const REGION: &str = "eu-west-1";

    /// Starts it, and creates the bus `watchkeeper` with a queue that receives all of its events.
    pub async fn start() -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("there should be a free port")
            .port();
        let folder = folder();
        let process = Command::new("python3")
            .arg(folder.join("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("PYTHONPATH", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 should be there");
        let moto =
            Self { url: format!("http://127.0.0.1:{port}"), http: crate::stack::reqwest_client(), _process: process };
        moto.ready().await;
        moto.call("events", "AWSEvents.CreateEventBus", json!({"Name": "watchkeeper"})).await;
        moto.route("events", json!({"source": ["watchkeeper"]})).await;
        moto
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates a queue of this name, and a rule that puts the events of this pattern into it.
    pub async fn route(&self, queue: &str, pattern: Value) {
        let made = self.call("sqs", "AmazonSQS.CreateQueue", json!({"QueueName": queue})).await;
        assert!(made["QueueUrl"].is_string(), "{made}");
        let rule = json!({"Name": queue, "EventBusName": "watchkeeper", "EventPattern": pattern.to_string()});
        self.call("events", "AWSEvents.PutRule", rule).await;
        let arn = format!("arn:aws:sqs:{}:123456789012:{queue}", Self::REGION);
        let targets = json!({"Rule": queue, "EventBusName": "watchkeeper", "Targets": [{"Id": "1", "Arn": arn}]});
        self.call("events", "AWSEvents.PutTargets", targets).await;
    }

    /// Stores a parameter in SSM's Parameter Store.
    pub async fn parameter(&self, name: &str, value: &str) {
        let parameter = json!({"Name": name, "Type": "String", "Value": value});
        let made = self.call("ssm", "AmazonSSM.PutParameter", parameter).await;
        assert!(made["Version"].is_number(), "{made}");
    }

    /// The events that have arrived, as a consumer sees them.
    pub async fn events(&self) -> Vec<Value> {
        let messages = self.messages("events").await;
        let bodies = messages.iter().filter_map(|message| message["Body"].as_str());
        bodies.map(|body| serde_json::from_str(body).expect("an event is JSON")).collect()
    }

    /// Up to ten messages that have arrived in a queue: `MessageId`, `ReceiptHandle`, `Body`.
    pub async fn messages(&self, queue: &str) -> Vec<Value> {
        let wanted = json!({"QueueUrl": format!("{}/123456789012/{queue}", self.url), "MaxNumberOfMessages": 10});
        let answer = self.call("sqs", "AmazonSQS.ReceiveMessage", wanted).await;
        answer["Messages"].as_array().cloned().unwrap_or_default()
    }

    async fn ready(&self) {
        let begun = Instant::now();
        while self.http.get(format!("{}/moto-api/", self.url)).send().await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "moto's server does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn call(&self, service: &str, operation: &str, body: Value) -> Value {
        let region = Self::REGION;
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let request = self.http.post(&self.url).header("authorization", scope).header("x-amz-target", operation);
        let request = request.header("content-type", "application/x-amz-json-1.0").body(body.to_string());
        let answer =
            request.send().await.expect("moto should answer").bytes().await.expect("its answer should be complete");
        serde_json::from_slice(&answer).unwrap_or(Value::Null)
    }
}

fn folder() -> PathBuf {
    let here = std::env::current_dir().expect("a test runs somewhere");
    let found = here.ancestors().map(|folder| folder.join(MOTO)).find(|folder| folder.is_dir());
    found.unwrap_or_else(|| panic!("moto is not in {MOTO}: run `make test`, which installs it"))
}

//! Notifications end to end: from a reported error to Slack, with nothing configured but that channel.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use harness::Database;
use serde_json::{Value, json};

use crate::process::{Stack, Start, eventually};
use harness::scratch::Scratch;

/// The timeout for a notification. Machines under test are slow.
const SOON: Duration = Duration::from_secs(10);

/// Slack's end of an incoming webhook.
#[derive(Clone)]
struct Slack {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Value>>>,
    /// The status of its answers.
    status: Arc<Mutex<StatusCode>>,
}

impl Slack {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let slack = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            status: Arc::new(Mutex::new(StatusCode::OK)),
        };
        let router = Router::new().route("/services/T0/B0/secret", post(receive)).with_state(slack.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        slack
    }

    fn url(&self) -> String {
        format!("http://{}/services/T0/B0/secret", self.address)
    }

    /// The notifications that it has accepted.
    fn received(&self) -> Vec<Value> {
        self.received.lock().unwrap().clone()
    }

    fn answers(&self, status: StatusCode) {
        *self.status.lock().unwrap() = status;
    }

    async fn until_received(&self, messages: usize) -> Vec<Value> {
        eventually("Slack receives it", SOON, async || {
            Some(self.received()).filter(|received| received.len() >= messages)
        })
        .await
    }
}

async fn receive(State(slack): State<Slack>, body: Bytes) -> StatusCode {
    let status = *slack.status.lock().unwrap();
    if status.is_success() {
        slack.received.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    }
    status
}

async fn start(scratch: &Scratch, database: &Database, slack: &Slack) -> Stack {
    Start::on(scratch)
        .variable("DATABASE_URL", &database.url())
        .variable("SLACK_WEBHOOK_URL", &slack.url())
        .ready()
        .await
}

fn error(message: &str) -> Value {
    json!({"error": {"message": message, "type": "PaymentError"}, "context": {"application": "shop"}})
}

#[tokio::test]
async fn an_incident_is_notified_once_when_opened_and_once_when_resolved() {
    let (scratch, database, slack) = (Scratch::new(), Database::migrated().await, Slack::start().await);
    let stack = start(&scratch, &database, &slack).await;
    let (_, answer) = stack.report(error("Payment failed <!channel> for order 1017")).await;
    let incident = answer["incident_id"].as_str().unwrap();
    let began = Instant::now();
    let received = slack.until_received(1).await[0].to_string();
    eprintln!("notified after {} ms", began.elapsed().as_millis());
    assert!(
        received.contains(incident) && received.contains("shop") && received.contains("Payment failed"),
        "{received}"
    );
    assert!(!received.contains("<!channel>"), "{received}");
    // More reports of an open incident notify no one.
    for _ in 0..3 {
        stack.report(error("Payment failed <!channel> for order 1018")).await;
    }
    stack.command(&["resolve", incident, "--by", "ann"]).await.with_code(0);
    let received = slack.until_received(2).await;
    assert!(received[1].to_string().contains("ann") && received[1].to_string().contains("esolved"), "{}", received[1]);
    assert_eq!(received.len(), 2, "{received:?}");
    let stored = stack.command(&["notifications", "--json"]).await.with_code(0).json();
    let stored = stored["notifications"].as_array().or(stored.as_array()).unwrap().clone();
    assert_eq!(stored.len(), 2, "{stored:?}");
    assert!(stored.iter().all(|message| message["status"] == "sent"), "{stored:?}");
    assert!(!format!("{stored:?}").contains("secret"), "{stored:?}");
}

#[tokio::test]
async fn a_notification_that_failed_before_a_crash_is_sent_after_the_next_start() {
    let (scratch, database, slack) = (Scratch::new(), Database::migrated().await, Slack::start().await);
    slack.answers(StatusCode::SERVICE_UNAVAILABLE);
    let mut stack = start(&scratch, &database, &slack).await;
    stack.report(error("Payment failed for order 1017")).await;
    eventually("a delivery was attempted", SOON, async || {
        (database.count("notifications WHERE attempts > 0").await > 0).then_some(())
    })
    .await;
    stack.kill().await;
    slack.answers(StatusCode::OK);
    // Skips the back-off, which is not tested here.
    let client = database.client();
    let now = "UPDATE notifications SET next_attempt_at = now(), claimed_until = NULL, status = 'pending'";
    client.execute(now, &[]).await.unwrap();
    client.execute("UPDATE notification_receivers SET paused_until = NULL", &[]).await.unwrap();
    let _stack = start(&scratch, &database, &slack).await;
    assert_eq!(slack.until_received(1).await.len(), 1);
}

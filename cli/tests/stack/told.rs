//! People hear of it: the whole way from a reported error to a channel, with nothing configured but that channel.

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

/// As soon as people should hear of it. Machines under test are slow.
const SOON: Duration = Duration::from_secs(10);

/// Slack's end of an incoming webhook.
#[derive(Clone)]
struct Slack {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Value>>>,
    /// What it answers.
    status: Arc<Mutex<StatusCode>>,
}

impl Slack {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let slack = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            status: Arc::new(Mutex::new(StatusCode::OK)),
        };
        let router = Router::new().route("/services/T0/B0/secret", post(hear)).with_state(slack.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        slack
    }

    fn url(&self) -> String {
        format!("http://{}/services/T0/B0/secret", self.address)
    }

    /// What it was told and has taken.
    fn heard(&self) -> Vec<Value> {
        self.heard.lock().unwrap().clone()
    }

    fn answers(&self, status: StatusCode) {
        *self.status.lock().unwrap() = status;
    }

    async fn until_heard(&self, messages: usize) -> Vec<Value> {
        eventually("Slack hears of it", SOON, async || Some(self.heard()).filter(|heard| heard.len() >= messages)).await
    }
}

async fn hear(State(slack): State<Slack>, body: Bytes) -> StatusCode {
    let status = *slack.status.lock().unwrap();
    if status.is_success() {
        slack.heard.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
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
async fn an_error_is_one_message_and_its_end_one_more() {
    let (scratch, database, slack) = (Scratch::new(), Database::migrated().await, Slack::start().await);
    let stack = start(&scratch, &database, &slack).await;
    let (_, answer) = stack.report(error("Payment failed <!channel> for order 1017")).await;
    let incident = answer["incident_id"].as_str().unwrap();
    let began = Instant::now();
    let heard = slack.until_heard(1).await[0].to_string();
    eprintln!("told after {} ms", began.elapsed().as_millis());
    assert!(heard.contains(incident) && heard.contains("shop") && heard.contains("Payment failed"), "{heard}");
    assert!(!heard.contains("<!channel>"), "{heard}");
    // Once more is no news.
    for _ in 0..3 {
        stack.report(error("Payment failed <!channel> for order 1018")).await;
    }
    stack.command(&["resolve", incident, "--by", "ann"]).await.with_code(0);
    let heard = slack.until_heard(2).await;
    assert!(heard[1].to_string().contains("ann") && heard[1].to_string().contains("esolved"), "{}", heard[1]);
    assert_eq!(heard.len(), 2, "{heard:?}");
    let told = stack.command(&["notifications", "--json"]).await.with_code(0).json();
    let told = told["notifications"].as_array().or(told.as_array()).unwrap().clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|message| message["status"] == "sent"), "{told:?}");
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
}

#[tokio::test]
async fn what_was_not_told_before_a_crash_is_told_after_the_next_start() {
    let (scratch, database, slack) = (Scratch::new(), Database::migrated().await, Slack::start().await);
    slack.answers(StatusCode::SERVICE_UNAVAILABLE);
    let mut stack = start(&scratch, &database, &slack).await;
    stack.report(error("Payment failed for order 1017")).await;
    eventually("it was tried", SOON, async || {
        (database.count("notifications WHERE attempts > 0").await > 0).then_some(())
    })
    .await;
    stack.kill().await;
    slack.answers(StatusCode::OK);
    // Not after the back-off, which is not what is tested.
    let client = database.client();
    let now = "UPDATE notifications SET next_attempt_at = now(), claimed_until = NULL, status = 'pending'";
    client.execute(now, &[]).await.unwrap();
    client.execute("UPDATE notification_receivers SET paused_until = NULL", &[]).await.unwrap();
    let _stack = start(&scratch, &database, &slack).await;
    assert_eq!(slack.until_heard(1).await.len(), 1);
}

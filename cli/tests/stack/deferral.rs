//! A database that is killed under load loses no report: reports are deferred to the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::scratch::Scratch;
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::process::{Stack, Start, eventually};

const MESSAGE: &str = "reported under load";

/// The answers that a sender received.
#[derive(Debug, Default)]
struct Answers {
    stored: i64,
    deferred: i64,
    /// May be stored or not.
    refused: i64,
}

/// Reports until it is stopped. A killed stack does not answer.
async fn sender(client: reqwest::Client, url: String, stop: Arc<AtomicBool>) -> Answers {
    let mut answers = Answers::default();
    while !stop.load(Ordering::SeqCst) {
        let request = client.post(format!("{url}/api/autonomous/error")).json(&json!({"error": {"message": MESSAGE}}));
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(200) => answers.stored += 1,
            Ok(202) => answers.deferred += 1,
            Ok(503) | Err(_) => answers.refused += 1,
            Ok(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    answers
}

struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<Answers>>,
}

impl Load {
    async fn on(stack: &Stack) -> Self {
        let (stop, url) = (Arc::new(AtomicBool::new(false)), stack.url());
        let senders = (0..4).map(|_| tokio::spawn(sender(stack.client.clone(), url.clone(), Arc::clone(&stop))));
        let load = Self { senders: senders.collect(), stop };
        eventually("there is traffic", Duration::from_secs(5), async || {
            (stack.occurrences_of(MESSAGE).await > 0).then_some(())
        })
        .await;
        load
    }

    async fn end(self) -> Answers {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Answers::default();
        for sender in self.senders {
            let answers = sender.await.unwrap();
            all.stored += answers.stored;
            all.deferred += answers.deferred;
            all.refused += answers.refused;
        }
        eprintln!("{all:?}");
        all
    }
}

async fn deferring(stack: &Stack) {
    eventually("reports are deferred", Duration::from_secs(10), async || {
        let (status, _) = stack.report(json!({"error": {"message": "is it unavailable?"}})).await;
        (status == 202).then_some(())
    })
    .await;
}

/// Checks that every accepted report is stored exactly once.
async fn accounted_for(stack: &Stack, answers: &Answers) {
    eventually("the journal is empty", Duration::from_secs(30), async || {
        // The segment that events are appended to is emptied, not deleted.
        let files = std::fs::read_dir(stack.file("journal")).unwrap();
        let empty = files.flatten().all(|file| file.metadata().is_ok_and(|file| file.len() == 0));
        (empty && stack.get("/ready").await.0 == 200).then_some(())
    })
    .await;
    let accepted = answers.stored + answers.deferred;
    eventually("all counts are folded", Duration::from_secs(5), async || {
        (stack.occurrences_of(MESSAGE).await >= accepted).then_some(())
    })
    .await;
    let counted = stack.occurrences_of(MESSAGE).await;
    assert!((accepted..=accepted + answers.refused).contains(&counted), "{answers:?}: {counted}");
}

#[tokio::test]
async fn a_database_killed_under_load_loses_no_report() {
    let scratch = Scratch::new();
    let stack = Start::on(&scratch).production_budget().ready().await;
    let load = Load::on(&stack).await;
    for _ in 0..2 {
        let killed = stack.postmaster();
        kill(killed, Signal::SIGKILL).unwrap();
        deferring(&stack).await;
        eventually("another server runs", Duration::from_secs(15), async || {
            (stack.postmaster() != killed && stack.get("/ready").await.0 == 200).then_some(())
        })
        .await;
    }
    let answers = load.end().await;
    assert!(answers.deferred > 0 && answers.refused == 0, "{answers:?}");
    accounted_for(&stack, &answers).await;
}

#[tokio::test]
async fn stack_and_database_killed_under_load_lose_nothing_that_was_accepted() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).production_budget().ready().await;
    let load = Load::on(&stack).await;
    kill(stack.postmaster(), Signal::SIGKILL).unwrap();
    deferring(&stack).await;
    stack.kill().await;
    let answers = load.end().await;
    let stack = Start::on(&scratch).production_budget().ready().await;
    accounted_for(&stack, &answers).await;
}

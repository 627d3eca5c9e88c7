//! A database that dies under load costs nobody a report: what it does not take waits in the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::scratch::Scratch;
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::process::{Stack, Start, eventually};

const MESSAGE: &str = "told in the thick of it";

/// What became of the reports of one sender.
#[derive(Debug, Default)]
struct Told {
    stored: i64,
    deferred: i64,
    /// May be stored or not.
    refused: i64,
}

/// Reports until it is told to stop. A stack that has died answers no more.
async fn sender(client: reqwest::Client, url: String, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    while !stop.load(Ordering::SeqCst) {
        let request = client.post(format!("{url}/api/autonomous/error")).json(&json!({"error": {"message": MESSAGE}}));
        match request.send().await.map(|answer| answer.status().as_u16()) {
            Ok(200) => told.stored += 1,
            Ok(202) => told.deferred += 1,
            Ok(503) | Err(_) => told.refused += 1,
            Ok(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    told
}

struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<Told>>,
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

    async fn end(self) -> Told {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Told::default();
        for sender in self.senders {
            let told = sender.await.unwrap();
            all.stored += told.stored;
            all.deferred += told.deferred;
            all.refused += told.refused;
        }
        eprintln!("{all:?}");
        all
    }
}

async fn deferring(stack: &Stack) {
    eventually("reports are deferred", Duration::from_secs(10), async || {
        let (status, _) = stack.report(json!({"error": {"message": "is it away?"}})).await;
        (status == 202).then_some(())
    })
    .await;
}

/// Everything that was accepted is there once it is all stored, and nothing is there twice.
async fn accounted_for(stack: &Stack, told: &Told) {
    eventually("the journal is empty", Duration::from_secs(30), async || {
        // The segment that events are appended to is emptied, not deleted.
        let files = std::fs::read_dir(stack.file("journal")).unwrap();
        let empty = files.flatten().all(|file| file.metadata().is_ok_and(|file| file.len() == 0));
        (empty && stack.get("/ready").await.0 == 200).then_some(())
    })
    .await;
    let accepted = told.stored + told.deferred;
    eventually("all counts are folded", Duration::from_secs(5), async || {
        (stack.occurrences_of(MESSAGE).await >= accepted).then_some(())
    })
    .await;
    let counted = stack.occurrences_of(MESSAGE).await;
    assert!((accepted..=accepted + told.refused).contains(&counted), "{told:?}: {counted}");
}

#[tokio::test]
async fn a_database_killed_under_load_costs_no_report() {
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
    let told = load.end().await;
    assert!(told.deferred > 0 && told.refused == 0, "{told:?}");
    accounted_for(&stack, &told).await;
}

#[tokio::test]
async fn stack_and_database_killed_under_load_lose_nothing_that_was_accepted() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).production_budget().ready().await;
    let load = Load::on(&stack).await;
    kill(stack.postmaster(), Signal::SIGKILL).unwrap();
    deferring(&stack).await;
    stack.kill().await;
    let told = load.end().await;
    let stack = Start::on(&scratch).production_budget().ready().await;
    accounted_for(&stack, &told).await;
}

//! Recovery after a kill: the stack with its next start, the database by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::scratch::Scratch;
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::process::{Stack, Start, eventually};

/// A request, and an answer to it.
struct Sample {
    status: u16,
    says_when_to_retry: bool,
    took: Duration,
    wrote: bool,
}

/// Sends requests until it is stopped, reading and writing in turn.
async fn traffic(client: reqwest::Client, url: String, message: &'static str, stop: Arc<AtomicBool>) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut wrote = false;
    while !stop.load(Ordering::SeqCst) {
        wrote = !wrote;
        let request = if wrote {
            client.post(format!("{url}/api/autonomous/error")).json(&json!({"error": {"message": message}}))
        } else {
            client.get(format!("{url}/ready"))
        };
        let began = Instant::now();
        let answer = request.send().await.expect("every request is answered");
        let (status, says_when_to_retry) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let _ = answer.bytes().await.unwrap();
        samples.push(Sample { status, says_when_to_retry, took: began.elapsed(), wrote });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    samples
}

/// Kills the database, and waits until another process of it answers requests.
async fn kill_database(stack: &Stack) -> Duration {
    let killed = stack.postmaster();
    kill(killed, Signal::SIGKILL).unwrap();
    let began = Instant::now();
    eventually("another server runs", Duration::from_secs(15), async || (stack.postmaster() != killed).then_some(()))
        .await;
    eventually("requests succeed again", Duration::from_secs(15), async || {
        (stack.get("/ready").await.0 == 200).then_some(())
    })
    .await;
    began.elapsed()
}

#[tokio::test]
async fn a_killed_database_restarts_within_seconds_and_reports_are_deferred_meanwhile() {
    let scratch = Scratch::new();
    let stack = Start::on(&scratch).production_budget().ready().await;
    let (url, database) = (stack.url(), stack.env("DATABASE_URL"));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(traffic(stack.client.clone(), url.clone(), "reported during the outage", Arc::clone(&stop)))
        })
        .collect();
    eventually("there is traffic", Duration::from_secs(5), async || {
        (stack.occurrences_of("reported during the outage").await > 0).then_some(())
    })
    .await;
    let outage = kill_database(&stack).await;
    // Connections recover shortly after the server.
    eventually("reports are stored", Duration::from_secs(5), async || {
        let (status, _) = stack.report(serde_json::json!({"error": {"message": "right afterwards"}})).await;
        (status == 200).then_some(())
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let mut samples = Vec::new();
    for sender in senders {
        samples.extend(sender.await.unwrap());
    }
    let longest = samples.iter().map(|sample| sample.took).max().unwrap();
    let refused = samples.iter().filter(|sample| sample.status == 503).count();
    eprintln!("back after {outage:?}; {} requests, {refused} refused, the longest took {longest:?}", samples.len());
    assert!(outage < Duration::from_secs(10), "{outage:?}");
    assert!(longest < Duration::from_millis(5_500), "{longest:?}");
    for sample in &samples {
        // Reports are deferred; readers get 503 with Retry-After.
        assert!(matches!(sample.status, 200 | 202 | 503), "{}", sample.status);
        assert_eq!(sample.says_when_to_retry, sample.status == 503);
    }
    let written = |status: u16| samples.iter().filter(|it| it.wrote && it.status == status).count();
    assert!(written(202) > 0, "no report was sent during the outage");
    assert_eq!(written(503), 0, "a report was refused");
    // No accepted report is lost.
    let accepted = i64::try_from(written(200) + written(202)).unwrap();
    eventually("every accepted report is stored", Duration::from_secs(20), async || {
        (stack.occurrences_of("reported during the outage").await == accepted).then_some(())
    })
    .await;
    assert_eq!((stack.url(), stack.env("DATABASE_URL")), (url, database));
    let shown = stack.stdout();
    for expected in [
        "the database server died; starting it again",
        "the database is unavailable: reports are deferred",
        "the database server is back",
        "the database is back: nothing deferred waits any more",
    ] {
        assert!(shown.contains(&format!("  database      {expected}\n")), "{expected}: {shown}");
    }
}

#[tokio::test]
async fn a_database_killed_again_and_again_keeps_its_data() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).ready().await;
    for _ in 0..3 {
        stack.report_message("kept").await;
        eprintln!("back after {:?}", kill_database(&stack).await);
    }
    assert_eq!(stack.occurrences_of("kept").await, 3);
    let server = stack.server();
    stack.stop().await;
    assert!(server.processes().is_empty(), "{:?}", server.processes());
}

#[tokio::test]
async fn a_stop_while_the_database_is_dead_takes_under_three_seconds() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).ready().await;
    let server = stack.server();
    kill(stack.postmaster(), Signal::SIGKILL).unwrap();
    let ended = stack.stop().await;
    assert!(ended.took < Duration::from_secs(3), "{:?}", ended.took);
    // Children of a killed postmaster exit shortly after it.
    let nothing = async || server.processes().is_empty().then_some(());
    eventually("nothing runs any more", Duration::from_secs(3), nothing).await;
    assert!(!stack.file("postgres.pid").exists());
}

#[tokio::test]
async fn after_a_sigkill_the_next_start_takes_over_and_finds_the_data() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).ready().await;
    stack.report_message("reported before the kill").await;
    let (database, orphan) = (stack.env("DATABASE_URL"), stack.postmaster());
    stack.kill().await;
    assert!(scratch.processes().iter().any(|process| process.pid == orphan), "the database outlives its stack");

    let mut stack = Start::on(&scratch).ready().await;
    eprintln!("serving {:?} after the start", stack.began.elapsed());
    assert_ne!(stack.postmaster(), orphan);
    assert_eq!(stack.env("DATABASE_URL"), database);
    assert_eq!(stack.occurrences_of("reported before the kill").await, 1);
    stack.report_message("reported before the kill").await;
    assert_eq!(stack.occurrences_of("reported before the kill").await, 2);
    stack.stop().await;
    assert!(scratch.processes().is_empty(), "{:?}", scratch.processes());
}

#[tokio::test]
async fn after_a_sigkill_of_stack_and_database_the_next_start_finds_the_data() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).ready().await;
    stack.report_message("reported before the kill").await;
    let postmaster = stack.postmaster();
    stack.kill().await;
    kill(postmaster, Signal::SIGKILL).unwrap();

    let stack = Start::on(&scratch).ready().await;
    assert_eq!(stack.occurrences_of("reported before the kill").await, 1);
}

/// Kills a first start as soon as this file of its data directory is there, and starts again.
async fn killed_at(file: &str) {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).spawn();
    stack.until_there(file).await;
    stack.kill().await;
    let mut stack = Start::on(&scratch).ready().await;
    stack.report_message("after all").await;
    stack.stop().await;
    assert!(scratch.processes().is_empty(), "{:?}", scratch.processes());
}

#[tokio::test]
async fn after_a_sigkill_while_the_database_is_made_the_next_start_makes_it_anew() {
    killed_at("postgres/data.new").await;
}

#[tokio::test]
async fn after_a_sigkill_while_the_database_starts_the_next_start_takes_over() {
    killed_at("postgres.pid").await;
}

//! The journal survives the process: a start replays it, and a kill during the replay loses and duplicates nothing.

use std::fs;
use std::time::Duration;

use chrono::Utc;
use local::bus::LocalBus;
use local::journal::Journal;
use shared::bus::Bus;
use shared::defer::bus::BusDeferral;
use shared::defer::{Defer as _, Deferred};
use shared::model::{DeliveryKey, Report};

use crate::process::{Stack, Start, eventually};
use harness::scratch::Scratch;

/// All of them are occurrences of one error.
const MESSAGE: &str = "reported during an outage";

/// Fills the journal of the data directory, as a stack does while its database is unavailable.
async fn deferred(scratch: &Scratch, count: i64) {
    let data = scratch.path().join("data");
    fs::create_dir_all(&data).unwrap();
    let bus = LocalBus::new(Journal::open(&data.join("journal")).unwrap()).unwrap();
    let patience = Duration::from_secs(30);
    let deferral = BusDeferral::with_patience(Bus::over(bus), patience, patience);
    let report = |number: i64| {
        let key = DeliveryKey::named("test", &number.to_le_bytes());
        Report::new(key, "test", MESSAGE.to_owned(), Utc::now()).storable().into()
    };
    let reports: Vec<Deferred> = (0..count).map(report).collect();
    for some in reports.chunks(5) {
        deferral.defer(some).await.unwrap();
    }
}

async fn all_stored(stack: &Stack, count: i64) {
    eventually("everything is stored", Duration::from_secs(30), async || {
        (stack.occurrences_of(MESSAGE).await >= count).then_some(())
    })
    .await;
    eventually("the journal is empty", Duration::from_secs(30), async || {
        // An event that was published after the last report leaves an open segment with nothing in it.
        let bytes = |file: std::io::Result<fs::DirEntry>| file.unwrap().metadata().map_or(0, |metadata| metadata.len());
        let left: u64 = fs::read_dir(stack.file("journal")).unwrap().map(bytes).sum();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(stack.occurrences_of(MESSAGE).await, count);
}

#[tokio::test]
async fn a_start_replays_the_journal() {
    let scratch = Scratch::new();
    deferred(&scratch, 3).await;
    let stack = Start::on(&scratch).ready().await;
    all_stored(&stack, 3).await;
}

#[tokio::test]
async fn a_sigkill_in_the_middle_of_a_replay_loses_nothing_and_counts_nothing_twice() {
    let scratch = Scratch::new();
    deferred(&scratch, 1_000).await;
    let mut stack = Start::on(&scratch).ready().await;
    eventually("some are stored", Duration::from_secs(10), async || {
        (stack.occurrences_of(MESSAGE).await > 0).then_some(())
    })
    .await;
    stack.kill().await;
    let stack = Start::on(&scratch).ready().await;
    all_stored(&stack, 1_000).await;
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_replay_is_quick_and_the_next_start_goes_on() {
    let scratch = Scratch::new();
    deferred(&scratch, 1_000).await;
    let mut stack = Start::on(&scratch).ready().await;
    let ended = stack.stop().await;
    assert!(ended.took < Duration::from_secs(3), "{:?}", ended.took);
    let stack = Start::on(&scratch).ready().await;
    all_stored(&stack, 1_000).await;
}

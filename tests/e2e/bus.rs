//! The local bus: an accepted event reaches its function, also after failures, crashes and restarts.

#![expect(clippy::print_stderr, reason = "what was measured")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use harness::TestStack;
use local::bus::{Consumer, Delivery, LocalBus, NotTaken};
use local::journal::Journal;
use serde_json::{Value, json};
use shared::bus::{Entry, Transport as _};
use tempfile::TempDir;

/// A function that records its events, and fails as the test sets it.
#[derive(Default)]
struct RecordingFunction {
    got: Mutex<Vec<Value>>,
    batches: Mutex<Vec<usize>>,
    mode: Mutex<Mode>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Mode {
    #[default]
    Up,
    /// Takes nothing.
    Down,
    /// Refuses poison.
    RefusesPoison,
    /// Panics on poison.
    CrashesOnPoison,
}

impl RecordingFunction {
    fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().clone()
    }

    /// The numbers of the events that it has taken.
    fn numbers(&self) -> BTreeSet<i64> {
        self.got().iter().filter_map(|event| event["detail"]["number"].as_i64()).collect()
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn take(&self, batch: SqsEvent) -> SqsBatchResponse {
        let (mut response, mode) = (SqsBatchResponse::default(), *self.mode.lock().unwrap());
        self.batches.lock().unwrap().push(batch.records.len());
        for message in batch.records {
            let event: Value = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
            let is_poison = event["detail"]["poison"] == true;
            if mode == Mode::CrashesOnPoison && is_poison {
                unreachable!("poison kills it");
            }
            if mode == Mode::Down || (mode == Mode::RefusesPoison && is_poison) {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = message.message_id.unwrap();
                response.batch_item_failures.push(failure);
            } else {
                self.got.lock().unwrap().push(event);
            }
        }
        response
    }
}

/// As the consumer that the bus calls.
struct Function(Arc<RecordingFunction>);

impl Consumer for Function {
    fn consume(&self, batch: SqsEvent, _: SystemTime) -> Pin<Box<dyn Future<Output = NotTaken> + Send + '_>> {
        Box::pin(async move { self.0.take(batch).into() })
    }
}

/// A bus on a journal, and the functions that read its queues.
struct Running {
    bus: LocalBus,
    notify: Arc<RecordingFunction>,
    dispatch: Arc<RecordingFunction>,
    replay: Arc<RecordingFunction>,
    delivery: Delivery,
    journal: Arc<Journal>,
}

/// Starts a bus, as the stack does.
fn run(folder: &Path) -> Running {
    run_in(folder, Mode::Up)
}

fn run_in(folder: &Path, mode: Mode) -> Running {
    let journal = Journal::open(folder).unwrap();
    let bus = LocalBus::new(Arc::clone(&journal)).unwrap();
    let [notify, dispatch, replay] = std::array::from_fn(|_| Arc::new(RecordingFunction::default()));
    for it in [&notify, &replay] {
        it.set(mode);
    }
    let function = |it: &Arc<RecordingFunction>| Arc::new(Function(Arc::clone(it))) as Arc<dyn Consumer>;
    let consumers = BTreeMap::from([
        ("NotifyFunction", function(&notify)),
        ("DispatchFunction", function(&dispatch)),
        ("ReplayFunction", function(&replay)),
    ]);
    let delivery = bus.serve(&consumers).unwrap();
    Running { bus, notify, dispatch, replay, delivery, journal }
}

impl Running {
    async fn put(&self, entries: &[Entry]) {
        for some in entries.chunks(10) {
            let taken = self.bus.put(some).await.unwrap();
            assert!(taken.iter().all(Result::is_ok), "{taken:?}");
        }
    }

    async fn until(&self, what: impl Fn(&RecordingFunction) -> bool) {
        wait(|| what(&self.notify)).await;
    }
}

async fn wait(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(90), "it should have happened by now");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn entry(name: &str, detail: Value) -> Entry {
    Entry { detail_type: name.to_owned(), detail: detail.to_string() }
}

fn opened(number: i64) -> Entry {
    entry("IncidentOpened", json!({"version": 1, "number": number}))
}

fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let journal = folder.path().join("journal");
    (folder, journal)
}

/// The bytes that the journal holds.
fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.filter(|it| it.path().extension().unwrap() == "segment").map(|it| it.metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn an_event_reaches_its_function_and_leaves_nothing_behind() {
    let (_folder, place) = place();
    let running = run(&place);
    running.put(&[opened(1)]).await;
    running.until(|notify| !notify.got().is_empty()).await;
    let event = running.notify.got().remove(0);
    let names: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"];
    assert_eq!(BTreeSet::from_iter(names), BTreeSet::from(wanted));
    assert_eq!((&event["source"], &event["detail-type"]), (&json!("watchkeeper"), &json!("IncidentOpened")));
    assert_eq!(event["detail"], json!({"version": 1, "number": 1}));
    wait(|| bytes(&place) == 0).await;
}

#[tokio::test]
async fn an_event_goes_only_to_the_queues_of_the_template_s_rules() {
    let (_folder, place) = place();
    let running = run(&place);
    let change = |to: &str| entry("ServiceStateChanged", json!({"to": to}));
    running.put(&[entry("Unrouted", json!({})), change("healthy")]).await;
    assert_eq!(bytes(&place), 0, "what no queue wants is not kept");
    running.put(&[change("down"), opened(1)]).await;
    running.until(|notify| notify.numbers().len() == 1).await;
    assert!(running.dispatch.got().is_empty(), "it lies in its queue for 30 s");
    assert!(bytes(&place) > 0, "and is safe meanwhile");
    let refused = running.bus.put(&[entry("IncidentOpened", json!([])), opened(2)]).await.unwrap();
    assert!(refused[0].is_err() && refused[1].is_ok(), "{refused:?}");
    running.until(|notify| notify.numbers().contains(&2)).await;
}

#[tokio::test]
async fn undelivered_events_of_a_stop_or_a_crash_are_delivered_after_the_restart() {
    let (_folder, place) = place();
    let events: Vec<Entry> = (0..300).map(opened).collect();
    let failing = run_in(&place, Mode::Down);
    failing.put(&events[..150]).await;
    failing.until(|notify| !notify.batches.lock().unwrap().is_empty()).await;
    failing.delivery.stop().await;
    drop((failing.bus, failing.journal));
    // This one is dropped without a stop.
    let killed = run_in(&place, Mode::Down);
    killed.put(&events[150..]).await;
    drop(killed);

    let running = run(&place);
    running.until(|notify| notify.numbers().len() == 300).await;
    assert_eq!(running.notify.got().len(), 300, "each once: nothing was delivered before");
    wait(|| bytes(&place) == 0).await;
}

#[tokio::test]
async fn a_change_that_waited_for_its_delay_is_delivered_at_once_after_a_restart() {
    let (_folder, place) = place();
    let stopped = run(&place);
    stopped.put(&[entry("ServiceStateChanged", json!({"to": "down", "number": 7}))]).await;
    stopped.delivery.stop().await;
    drop((stopped.bus, stopped.journal));
    let running = run(&place);
    wait(|| running.dispatch.numbers().contains(&7)).await;
}

#[tokio::test]
async fn deferred_records_keep_their_order_across_retries_and_a_restart() {
    let (_folder, place) = place();
    let deferred = |number: i64| entry("ReportDeferred", json!({"number": number}));
    let failing = run_in(&place, Mode::Down);
    failing.put(&(0..150).map(deferred).collect::<Vec<_>>()).await;
    wait(|| !failing.replay.batches.lock().unwrap().is_empty()).await;
    failing.delivery.stop().await;
    drop((failing.bus, failing.journal));
    let running = run_in(&place, Mode::Down);
    running.put(&(150..300).map(deferred).collect::<Vec<_>>()).await;
    wait(|| running.replay.batches.lock().unwrap().len() > 1).await;
    running.replay.set(Mode::Up);
    wait(|| running.replay.got().len() == 300).await;
    let numbers: Vec<i64> = running.replay.got().iter().filter_map(|it| it["detail"]["number"].as_i64()).collect();
    assert_eq!(numbers, Vec::from_iter(0..300));
    assert!(running.replay.batches.lock().unwrap().iter().all(|size| *size <= 100), "as many as the template says");
    wait(|| bytes(&place) == 0).await;
}

#[tokio::test]
async fn poison_does_not_block_other_events_and_is_retried_until_it_is_taken() {
    for mode in [Mode::RefusesPoison, Mode::CrashesOnPoison] {
        let (_folder, place) = place();
        let running = run_in(&place, mode);
        let mut events: Vec<Entry> = (0..25).map(opened).collect();
        events.insert(3, entry("IncidentOpened", json!({"poison": true, "number": 99})));
        running.put(&events).await;
        running.until(|notify| notify.numbers().len() == 25).await;
        assert!(bytes(&place) > 0, "the poison is still there");
        running.notify.set(Mode::Up);
        running.until(|notify| notify.numbers().contains(&99)).await;
        wait(|| bytes(&place) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_arrive_once_each_in_batches_of_ten_at_most() {
    let (_folder, place) = place();
    let running = run(&place);
    let events: Vec<Entry> = (0..10_000).map(opened).collect();
    let begun = Instant::now();
    running.put(&events).await;
    let taken = begun.elapsed();
    running.until(|notify| notify.numbers().len() == 10_000).await;
    eprintln!("10,000 events: taken after {taken:?}, delivered after {:?}", begun.elapsed());
    assert_eq!(running.notify.got().len(), 10_000);
    assert!(running.notify.batches.lock().unwrap().iter().all(|size| *size <= 10));
    wait(|| bytes(&place) == 0).await;
}

#[tokio::test]
async fn a_stack_with_the_local_bus_publishes_events() {
    let stack = TestStack::builder().local_bus().start(harness::Database::migrated().await).await;
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    let published = "SELECT count(*) = 1 FROM event_outbox WHERE published_at IS NOT NULL AND attempts = 1";
    stack.database.wait_until(published).await;
}

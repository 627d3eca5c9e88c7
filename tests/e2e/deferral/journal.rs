//! Deferral to the local bus: records in its journal survive stops and crashes, and are stored exactly once.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::SqsEvent;
use harness::{Database, TestStack};
use local::bus::{Consumer, Delivery, LocalBus, NotTaken};
use local::journal::{Journal, JournalLimits};
use serde_json::{Value, json};
use shared::bus::Bus;
use shared::defer::bus::BusDeferral;
use shared::defer::{Defer as _, DeferError, Deferred};
use shared::intake::Intake;
use tempfile::TempDir;

use super::{intake, intake_without_database, occurrences, poison, report};

/// A folder for a journal.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn journal(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    /// The segments, in order.
    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.journal()).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<PathBuf> = entries.filter(|path| path.extension().unwrap() == "segment").collect();
        segments.sort();
        segments
    }

    /// The bytes of the waiting records.
    fn bytes(&self) -> u64 {
        self.segments().iter().map(|segment| fs::metadata(segment).map_or(0, |it| it.len())).sum()
    }

    /// The lines that were set aside.
    fn refused(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.journal().join("refused.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn open(&self) -> Waiting {
        self.open_within(JournalLimits::default())
    }

    fn open_within(&self, limits: JournalLimits) -> Waiting {
        let bus = LocalBus::new(Journal::open_within(&self.journal(), limits).unwrap()).unwrap();
        let patience = Duration::from_secs(30);
        Waiting { deferral: BusDeferral::with_patience(Bus::over(bus.clone()), patience, patience), bus }
    }

    /// Delivers the waiting records to `replay` on this intake, until none is left.
    async fn replayed(&self, waiting: &Waiting, intake: &Intake) -> Delivery {
        let delivery = waiting.serve(intake);
        self.until_empty().await;
        delivery
    }

    async fn until_empty(&self) {
        let begun = std::time::Instant::now();
        while self.bytes() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} bytes wait", self.bytes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A consumer of nothing: these tests publish no other events.
struct Unused;

impl Consumer for Unused {
    fn consume(&self, _: SqsEvent, _: SystemTime) -> Pin<Box<dyn Future<Output = NotTaken> + Send + '_>> {
        Box::pin(async { NotTaken::default() })
    }
}

/// A bus whose queues are not read yet.
struct Waiting {
    bus: LocalBus,
    deferral: BusDeferral,
}

impl Waiting {
    async fn defer(&self, records: &[Deferred]) {
        self.deferral.defer(records).await.unwrap();
    }

    fn serve(&self, intake: &Intake) -> Delivery {
        let unused = || Arc::new(Unused) as Arc<dyn Consumer>;
        let replay = Arc::new(replay::App::in_order(intake.clone())) as Arc<dyn Consumer>;
        let consumers = [("NotifyFunction", unused()), ("DispatchFunction", unused()), ("ReplayFunction", replay)];
        self.bus.serve(&BTreeMap::from(consumers)).unwrap()
    }
}

#[tokio::test]
async fn deferred_records_are_private_files_and_are_stored_when_the_database_is_available_again() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let waiting = place.open();
    waiting.defer(&[report("one").into(), report("two").into()]).await;
    waiting.defer(&[report("three").into()]).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.journal()), mode(&place.segments()[0])), (0o700, 0o600));
    // While the database is unavailable nothing is lost or given up.
    let before = place.bytes();
    waiting.serve(&intake_without_database()).stop().await;
    assert_eq!(place.bytes(), before);
    drop(waiting);
    let waiting = place.open();
    waiting.defer(&[report("four").into()]).await;
    let _delivery = place.replayed(&waiting, &intake(&database)).await;
    for message in ["one", "two", "three", "four"] {
        assert_eq!(occurrences(&database, message).await, 1, "{message}");
    }
    assert_eq!(place.refused(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_event_torn_at_any_byte_is_dropped_and_none_before_it_is_lost() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let waiting = place.open();
    waiting.defer(&[report("whole").into()]).await;
    let segment = place.segments().remove(0);
    let whole = fs::read(&segment).unwrap().len();
    waiting.defer(&[report("torn").into()]).await;
    drop(waiting);
    let bytes = fs::read(&segment).unwrap();
    let intake = intake(&database);
    // Its last byte is the line end: without that it is still complete.
    for end in (whole..bytes.len()).step_by(61).chain([bytes.len() - 2, bytes.len() - 1]) {
        fs::write(&segment, &bytes[..end]).unwrap();
        place.replayed(&place.open(), &intake).await.stop().await;
        let stored = i64::from(end + 1 == bytes.len());
        assert_eq!(occurrences(&database, "torn").await, stored, "cut at {end}");
    }
    assert_eq!(occurrences(&database, "whole").await, 1);
    assert_eq!(place.refused(), Vec::<Value>::new());
}

#[tokio::test]
async fn after_a_torn_end_a_new_run_appends_to_a_new_segment() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let waiting = place.open();
    waiting.defer(&[report("before").into()]).await;
    drop(waiting);
    let torn = OpenOptions::new().append(true).open(&place.segments()[0]).unwrap();
    std::io::Write::write_all(&mut &torn, b"89abcdef {\"kind\":").unwrap();
    let waiting = place.open();
    waiting.defer(&[report("after").into()]).await;
    assert_eq!(place.segments().len(), 2);
    let _delivery = place.replayed(&waiting, &intake(&database)).await;
    for message in ["before", "after"] {
        assert_eq!(occurrences(&database, message).await, 1, "{message}");
    }
}

#[tokio::test]
async fn poison_is_set_aside_and_does_not_block_others() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let waiting = place.open();
    for report in [report("before"), poison(), report("after")] {
        waiting.defer(&[report.into()]).await;
    }
    drop(waiting);
    let segment = place.segments().remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes.splice(0..0, *b"not an event\n");
    bytes.extend(b"nor\xff this\n");
    fs::write(&segment, bytes).unwrap();
    place.replayed(&place.open(), &intake(&database)).await.stop().await;
    for message in ["before", "after"] {
        assert_eq!(occurrences(&database, message).await, 1, "{message}");
    }
    let refused = place.refused();
    let record = |line: &Value| line["event"]["detail"]["records"][0]["report"]["message"].as_str().map(str::to_owned);
    let messages: Vec<String> = refused.iter().filter_map(record).collect();
    let lines: Vec<&str> = refused.iter().filter_map(|line| line["line"].as_str()).collect();
    assert_eq!((messages, lines), (vec!["poison".to_owned()], vec!["not an event\n", "nor\u{FFFD} this\n"]));
    assert!(refused.iter().all(|line| line["reason"].is_string()));
    let mode = fs::metadata(place.journal().join("refused.jsonl")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    place.open();
    assert_eq!(place.bytes(), 0, "what was set aside is over");
}

#[tokio::test]
async fn a_thousand_reports_are_stored_once_even_after_a_crash_between_storing_and_deleting() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let limits = JournalLimits { segment_bytes: 100_000, ..JournalLimits::default() };
    let waiting = Arc::new(place.open_within(limits));
    let reports: Vec<Deferred> = (0..1_000).map(|number| report(&format!("number {number}")).into()).collect();
    for some in reports.chunks(200) {
        let writers = some.chunks(10).map(|some| {
            let (waiting, some) = (Arc::clone(&waiting), some.to_vec());
            tokio::spawn(async move { waiting.defer(&some).await })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    }
    let segments = place.segments();
    assert!(segments.len() > 2, "{}", segments.len());
    let kept: Vec<Vec<u8>> = segments.iter().map(|segment| fs::read(segment).unwrap()).collect();
    let intake = intake(&database);
    place.replayed(&waiting, &intake).await.stop().await;
    drop(waiting);
    assert_eq!(database.count("inbound_deliveries").await, 1_000);
    // As if nothing had been deleted.
    for (segment, bytes) in segments.iter().zip(&kept) {
        fs::write(segment, bytes).unwrap();
    }
    place.replayed(&place.open(), &intake).await.stop().await;
    assert_eq!(database.count("inbound_deliveries").await, 1_000);
    let counted: i64 = database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!(counted, 1_000);
}

#[tokio::test]
async fn an_aborted_delivery_continues_after_the_restart() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let intake = intake(&database);
    let waiting = place.open();
    for number in 0..300 {
        waiting.defer(&[report(&format!("number {number}")).into()]).await;
    }
    for _ in 0..3 {
        // Dropping aborts it.
        let delivery = waiting.serve(&intake);
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(delivery);
    }
    drop(waiting);
    place.replayed(&place.open(), &intake).await.stop().await;
    let counted: i64 = database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!(counted, 300);
}

#[tokio::test]
async fn a_full_journal_refuses_events_until_others_are_delivered() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let limits = JournalLimits { total_bytes: 3_000, ..JournalLimits::default() };
    let waiting = place.open_within(limits);
    let mut taken = 0;
    let error = loop {
        match waiting.deferral.defer(&[report(&format!("number {taken}")).into()]).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!((1..5).contains(&taken), "{taken}");
    assert!(matches!(&error, DeferError::Unavailable(_)), "{error}");
    assert!(shared::store::chain(&error).contains("full"), "{}", shared::store::chain(&error));
    drop(waiting);
    let waiting = place.open_within(limits);
    let refused = waiting.deferral.defer(&[report("after a restart").into()]).await;
    assert!(refused.is_err(), "it counts what it finds");
    let _delivery = place.replayed(&waiting, &intake(&database)).await;
    assert_eq!(database.count("inbound_deliveries").await, taken);
    waiting.defer(&[report("there is room again").into()]).await;
}

#[tokio::test]
async fn a_failed_write_of_the_journal_is_an_error_and_a_later_one_succeeds() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let waiting = place.open();
    let elsewhere = place.0.path().join("elsewhere");
    fs::rename(place.journal(), &elsewhere).unwrap();
    let error = waiting.deferral.defer(&[report("lost to its caller").into()]).await.unwrap_err();
    assert!(matches!(error, DeferError::Unavailable(_)), "{error}");
    fs::rename(&elsewhere, place.journal()).unwrap();
    waiting.defer(&[report("kept").into()]).await;
    let _delivery = place.replayed(&waiting, &intake(&database)).await;
    assert_eq!(occurrences(&database, "kept").await, 1);
}

#[tokio::test]
async fn a_stack_stores_the_records_of_the_last_run_at_its_start() {
    let (place, database) = (Place::new(), Database::migrated().await);
    place.open().defer(&[report("left").into()]).await;
    let stack = TestStack::builder().journal(&place.journal()).start(database).await;
    stack.database.wait_until("SELECT count(*) = 1 FROM incidents WHERE error_message = 'left'").await;
    let database = stack.stop().await;
    assert_eq!(occurrences(&database, "left").await, 1);
}

#[tokio::test]
async fn a_stack_stores_the_records_of_an_earlier_version_s_format() {
    let (place, database) = (Place::new(), Database::migrated().await);
    fs::create_dir(place.journal()).unwrap();
    let line = |message: &str| {
        let text = json!({"kind": "report_deferred", "report": report(message)}).to_string();
        format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
    };
    fs::write(place.journal().join("000000000001.segment"), line("one") + &line("two")).unwrap();
    let stack = TestStack::builder().journal(&place.journal()).start(database).await;
    stack.database.wait_until("SELECT count(*) = 2 FROM incidents WHERE error_message IN ('one', 'two')").await;
    place.until_empty().await;
    stack.stop().await;
}

#[tokio::test]
async fn a_stack_that_stops_while_its_database_hangs_keeps_the_waiting_records() {
    let place = Place::new();
    place.open().defer(&[report("kept").into()]).await;
    // Accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://u:p@{}/x?sslmode=disable", silent.local_addr().unwrap());
    let builder = TestStack::builder().journal(&place.journal()).database_url(url);
    let stack = builder.start(Database::migrated().await).await;
    let database = stack.stop().await;
    place.replayed(&place.open(), &intake(&database)).await.stop().await;
    assert_eq!(occurrences(&database, "kept").await, 1);
}

//! The journal: what waits in it survives whatever ends its writer, and is stored exactly once.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Database, TestStack};
use local::journal::{Journal, Limits, Replayed};
use serde_json::Value;
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

    /// What was set aside.
    fn refused(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.journal().join("refused.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// All of it, by a journal that is opened for it, as the next start does.
async fn replayed(folder: &Path, intake: &Intake) -> Replayed {
    Journal::open(folder).unwrap().replay(intake, soon()).await
}

#[tokio::test]
async fn what_is_deferred_waits_for_its_owner_only_and_is_stored_when_the_database_is_back() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let journal = Journal::open(&place.journal()).unwrap();
    assert!(!journal.is_waiting());
    assert!(journal.replay(&intake(&database), soon()).await.is_done);
    journal.defer(&[report("one").into(), report("two").into()]).await.unwrap();
    journal.defer(&[report("three").into()]).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.journal()), mode(&place.segments()[0])), (0o700, 0o600));

    let away = journal.replay(&intake_without_database(), soon()).await;
    assert_eq!((away.stored, away.refused, away.is_done), (0, 0, false));
    journal.defer(&[report("four").into()]).await.unwrap();
    let back = journal.replay(&intake(&database), soon()).await;
    assert_eq!((back.stored, back.refused, back.is_done), (4, 0, true));
    for message in ["one", "two", "three", "four"] {
        assert_eq!(occurrences(&database, message).await, 1, "{message}");
    }
    assert_eq!(place.segments(), Vec::<PathBuf>::new());
    assert!(!journal.is_waiting());
}

#[tokio::test]
async fn a_record_torn_at_any_byte_is_dropped_and_none_before_it_is_lost() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let journal = Journal::open(&place.journal()).unwrap();
    journal.defer(&[report("whole").into()]).await.unwrap();
    let segment = place.segments().remove(0);
    let whole = fs::read(&segment).unwrap().len();
    journal.defer(&[report("torn").into()]).await.unwrap();
    drop(journal);
    let bytes = fs::read(&segment).unwrap();
    let intake = intake(&database);
    for end in whole..bytes.len() {
        fs::write(&segment, &bytes[..end]).unwrap();
        let replayed = replayed(&place.journal(), &intake).await;
        // Without its line's end it is whole all the same.
        let stored = 1 + usize::from(end + 1 == bytes.len());
        assert_eq!((replayed.stored, replayed.refused, replayed.is_done), (stored, 0, true), "cut at {end}");
    }
    assert_eq!(occurrences(&database, "whole").await, 1);
    assert_eq!(place.refused(), Vec::<Value>::new());
}

#[tokio::test]
async fn after_a_torn_end_a_new_run_appends_to_a_file_of_its_own() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let journal = Journal::open(&place.journal()).unwrap();
    journal.defer(&[report("before").into()]).await.unwrap();
    drop(journal);
    let torn = OpenOptions::new().append(true).open(&place.segments()[0]).unwrap();
    std::io::Write::write_all(&mut &torn, b"89abcdef {\"kind\":").unwrap();
    let journal = Journal::open(&place.journal()).unwrap();
    assert!(journal.is_waiting());
    journal.defer(&[report("after").into()]).await.unwrap();
    assert_eq!(place.segments().len(), 2);
    assert_eq!(journal.replay(&intake(&database), soon()).await.stored, 2);
    assert_eq!(occurrences(&database, "after").await, 1);
}

#[tokio::test]
async fn poison_is_set_aside_and_holds_up_nothing() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let journal = Journal::open(&place.journal()).unwrap();
    for report in [report("before"), poison(), report("after")] {
        journal.defer(&[report.into()]).await.unwrap();
    }
    let segment = place.segments().remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes.splice(0..0, *b"not a record\n");
    bytes.extend(b"nor\xff this\n");
    fs::write(&segment, bytes).unwrap();
    let replayed = journal.replay(&intake(&database), soon()).await;
    assert_eq!((replayed.stored, replayed.refused, replayed.is_done), (2, 3, true));
    for message in ["before", "after"] {
        assert_eq!(occurrences(&database, message).await, 1, "{message}");
    }
    let refused = place.refused();
    let messages: Vec<&str> = refused.iter().filter_map(|line| line["report"]["message"].as_str()).collect();
    let lines: Vec<&str> = refused.iter().filter_map(|line| line["line"].as_str()).collect();
    assert_eq!((messages, lines), (vec!["poison"], vec!["not a record\n", "nor\u{FFFD} this\n"]));
    assert!(refused.iter().all(|line| line["reason"].is_string()));
    let mode = fs::metadata(journal.refused()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!Journal::open(&place.journal()).unwrap().is_waiting(), "what was set aside is over");
}

#[tokio::test]
async fn a_thousand_reports_are_stored_once_even_when_a_crash_comes_between_storing_and_deleting() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let limits = Limits { segment_bytes: 100_000, ..Limits::default() };
    let journal = Journal::open_within(&place.journal(), limits).unwrap();
    let reports: Vec<Deferred> = (0..1_000).map(|number| report(&format!("number {number}")).into()).collect();
    for some in reports.chunks(200) {
        let writers = some.chunks(10).map(|some| {
            let (journal, some) = (Arc::clone(&journal), some.to_vec());
            tokio::spawn(async move { journal.defer(&some).await.unwrap() })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    }
    let segments = place.segments();
    assert!(segments.len() > 2, "{}", segments.len());
    let kept: Vec<Vec<u8>> = segments.iter().map(|segment| fs::read(segment).unwrap()).collect();
    let intake = intake(&database);
    assert_eq!(journal.replay(&intake, soon()).await.stored, 1_000);
    drop(journal);
    // As if nothing had been deleted.
    for (segment, bytes) in segments.iter().zip(&kept) {
        fs::write(segment, bytes).unwrap();
    }
    assert!(replayed(&place.journal(), &intake).await.is_done);
    assert_eq!(database.count("inbound_deliveries").await, 1_000);
    let counted: i64 = database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!(counted, 1_000);
}

#[tokio::test]
async fn a_replay_that_is_cut_off_goes_on_where_it_stood() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let journal = Journal::open(&place.journal()).unwrap();
    let reports: Vec<Deferred> = (0..300).map(|number| report(&format!("number {number}")).into()).collect();
    journal.defer(&reports).await.unwrap();
    let intake = intake(&database);
    assert!(!journal.replay(&intake, Instant::now()).await.is_done, "there was no time");
    let cut_off = tokio::time::timeout(Duration::from_millis(5), journal.replay(&intake, soon())).await;
    assert!(cut_off.is_err() || cut_off.unwrap().is_done);
    assert!(journal.replay(&intake, soon()).await.is_done);
    let counted: i64 = database.value("SELECT sum(occurrences)::bigint FROM incidents").await;
    assert_eq!(counted, 300);
}

#[tokio::test]
async fn a_full_journal_takes_nothing_until_it_is_replayed() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let limits = Limits { total_bytes: 2_000, ..Limits::default() };
    let journal = Journal::open_within(&place.journal(), limits).unwrap();
    let mut taken = 0;
    let error = loop {
        match journal.defer(&[report(&format!("number {taken}")).into()]).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!((1..5).contains(&taken), "{taken}");
    assert!(matches!(&error, DeferError::Unavailable(_)), "{error}");
    assert!(shared::store::chain(&error).contains("full"), "{}", shared::store::chain(&error));
    drop(journal);
    let journal = Journal::open_within(&place.journal(), limits).unwrap();
    assert!(journal.defer(&[report("after a restart").into()]).await.is_err(), "it counts what it finds");
    assert_eq!(journal.replay(&intake(&database), soon()).await.stored, taken);
    journal.defer(&[report("there is room again").into()]).await.unwrap();
}

#[tokio::test]
async fn a_journal_that_can_not_be_written_says_so_and_works_again_afterwards() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let journal = Journal::open(&place.journal()).unwrap();
    let away = place.0.path().join("away");
    fs::rename(place.journal(), &away).unwrap();
    let error = journal.defer(&[report("lost to its caller").into()]).await.unwrap_err();
    assert!(matches!(error, DeferError::Unavailable(_)), "{error}");
    fs::rename(&away, place.journal()).unwrap();
    journal.defer(&[report("kept").into()]).await.unwrap();
    assert!(journal.replay(&intake(&database), soon()).await.is_done);
    assert_eq!(occurrences(&database, "kept").await, 1);
}

#[tokio::test]
async fn a_stack_stores_at_its_start_what_the_last_run_has_left() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let journal = Journal::open(&place.journal()).unwrap();
    journal.defer(&[report("left").into()]).await.unwrap();
    drop(journal);
    let stack = TestStack::builder().journal(&place.journal()).start(database).await;
    while occurrences(&stack.database, "left").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let database = stack.stop().await;
    assert_eq!(occurrences(&database, "left").await, 1);
    assert_eq!(place.segments(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_stack_that_stops_while_its_database_says_nothing_keeps_what_waits() {
    let place = Place::new();
    let journal = Journal::open(&place.journal()).unwrap();
    journal.defer(&[report("kept").into()]).await.unwrap();
    drop(journal);
    // Takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://u:p@{}/x?sslmode=disable", silent.local_addr().unwrap());
    let builder = TestStack::builder().journal(&place.journal()).database_url(url);
    let stack = builder.start(Database::migrated().await).await;
    let database = stack.stop().await;
    assert_eq!(replayed(&place.journal(), &intake(&database)).await.stored, 1);
}

#[tokio::test]
async fn a_drain_stores_what_waits_and_gives_up_in_time_while_the_database_is_away() {
    let (place, database) = (Place::new(), Database::migrated().await);
    let journal = Journal::open(&place.journal()).unwrap();
    journal.defer(&[report("one").into()]).await.unwrap();
    assert!(!journal.drain(&intake_without_database(), Duration::from_millis(300)).await);
    assert!(journal.drain(&intake(&database), Duration::from_secs(30)).await);
    assert_eq!(occurrences(&database, "one").await, 1);
}

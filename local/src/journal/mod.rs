//! The journal: the bus's storage on disk. An event is synced (`fsync`) before its publisher gets an answer, and survives a
//! crash of the process and of the machine, until its function has taken it.
//!
//! - `record`: one line per event, with its checksum (pure). `segments`: the files.
//! - `writer`: appends; one `fsync` for a batch of callers. `state`: how many events wait in which segment.
//!
//! Invariants: a segment is deleted only when each of its events is delivered, or set aside in `refused.jsonl`; nothing is
//! appended to a segment of another run. Delivery is at least once: only whole segments are deleted, so events may be delivered
//! again after a crash. One process at a time: the data directory's lock guarantees it.
//!
//! Users: the local bus.

mod record;
mod segments;
mod state;
mod writer;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use chrono::Utc;
use serde_json::{Value, json};
use shared::store::chain;
use tokio::sync::{mpsc, oneshot};

pub(crate) use record::{LineError, QueuedEvent};
use segments::{Chunk, Folder, Line};
use state::State;
use writer::{Append, Command, Place, Writer};

/// The size limits of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// Of all files together; beyond that events are refused.
    pub total_bytes: u64,
    /// Of a segment; after that a new one is begun.
    pub segment_bytes: u64,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self { total_bytes: 1024 * 1024 * 1024, segment_bytes: 8 * 1024 * 1024 }
    }
}

/// A journal in its own folder. Dropping it ends its writer; its files stay.
pub struct Journal {
    folder: Folder,
    state: Arc<State>,
    commands: mpsc::Sender<Command>,
    /// Segments of an earlier run, until they are read.
    left: Mutex<BTreeSet<u64>>,
}

/// A synced event: its place in the journal, and its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) segment: u64,
    line: Line,
    pub(crate) queue: String,
}

impl Kept {
    /// Its position in the journal's order of arrival.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.segment, self.line.at)
    }

    /// The length of its line.
    pub(crate) fn bytes(&self) -> usize {
        self.line.bytes
    }
}

/// Why the journal refuses events.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(
        "the journal (the data directory's `journal`) is full: it holds {bytes} bytes, and is emptied once the database is available"
    )]
    Full { bytes: u64 },
    #[error(
        "the journal (the data directory's `journal`) can't be written: free disk space, and let this user write there"
    )]
    Write(#[source] Arc<io::Error>),
    #[error("the journal has ended")]
    Ended,
}

impl Journal {
    /// The most callers that wait for the next batch; further ones block.
    const WAITING: usize = 1_024;

    /// Opens the journal in this folder, which is created if absent. Events of an earlier run wait in it.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn open(folder: &Path) -> anyhow::Result<Arc<Self>> {
        Self::open_within(folder, JournalLimits::default())
    }

    /// The same, with other limits.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn open_within(folder: &Path, limits: JournalLimits) -> anyhow::Result<Arc<Self>> {
        let problem = || format!("open the journal {}", folder.display());
        let folder = Folder::make(folder).with_context(problem)?;
        let (left, bytes) = folder.scan().with_context(problem)?;
        let next_number = left.last().map_or(1, |last| last.saturating_add(1));
        if !left.is_empty() {
            tracing::warn!(bytes, "events of the last run wait in the journal");
        }
        let state = Arc::new(State::new(bytes));
        let (commands, asked) = mpsc::channel(Self::WAITING);
        tokio::spawn(Writer::new(folder.clone(), limits, Arc::clone(&state), next_number).run(asked));
        Ok(Arc::new(Self { folder, state, commands, left: Mutex::new(left) }))
    }

    /// The file with the events that no function takes, for an operator.
    #[must_use]
    pub fn refused(&self) -> PathBuf {
        self.folder.refused()
    }

    /// Returns when the events are synced: then they are delivered, if necessary after a restart. Not cancel-safe: the events of a
    /// dropped call would wait for the next start.
    pub(crate) async fn keep(&self, events: &[QueuedEvent]) -> Result<Vec<Kept>, JournalError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let lines: Vec<Vec<u8>> = events
            .iter()
            .map(record::line_of)
            .collect::<Result<_, _>>()
            .map_err(|error| JournalError::Write(Arc::new(error.into())))?;
        let Place { segment, mut at } = self.write(lines.concat(), events.len()).await?;
        let kept = events.iter().zip(lines).map(|(queued, line)| {
            let kept = Kept { segment, line: Line { at, bytes: line.len() }, queue: queued.queue.clone() };
            at += line.len() as u64;
            kept
        });
        Ok(kept.collect())
    }

    async fn write(&self, lines: Vec<u8>, events: usize) -> Result<Place, JournalError> {
        let (done, written) = oneshot::channel();
        match self.commands.send(Command::Append(Append { lines, events, done })).await {
            Ok(()) => written.await.unwrap_or(Err(JournalError::Ended)),
            Err(_) => Err(JournalError::Ended),
        }
    }

    /// Reads these events, in their consumer's form.
    pub(crate) async fn read(&self, kept: &[&Kept]) -> io::Result<Vec<Result<Value, LineError>>> {
        let (folder, places) = (self.folder.clone(), kept.iter().map(|it| (it.segment, it.line)).collect::<Vec<_>>());
        let events = blocking(move || {
            let mut events = Vec::with_capacity(places.len());
            for some in places.chunk_by(|one, other| one.0 == other.0) {
                let lines: Vec<Line> = some.iter().map(|(_, line)| *line).collect();
                events.extend(folder.events(some[0].0, &lines)?);
            }
            Ok(events)
        });
        Ok(events.await?.into_iter().map(|event| event.map(|queued| queued.event)).collect())
    }

    /// Passes on each event of an earlier run, once, in the order of arrival.
    pub(crate) async fn find_left(&self, mut hand_on: impl FnMut(Kept)) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        for segment in left {
            match self.find_in(segment, &mut hand_on).await {
                Ok(()) if self.state.is_over(segment) => self.tidy(segment).await,
                Ok(()) => {}
                // An unreadable file does not block the others, and stays for the next start.
                Err(error) => {
                    self.state.waits(segment, 1);
                    tracing::error!(segment, %error, "segment {segment} of the journal can't be read: {error}");
                }
            }
        }
    }

    async fn find_in(&self, segment: u64, hand_on: &mut impl FnMut(Kept)) -> io::Result<()> {
        let mut from = 0;
        loop {
            let folder = self.folder.clone();
            let chunk = blocking(move || folder.read(segment, from)).await?;
            let Chunk { events, unreadable, torn, next, is_last } = chunk;
            self.state.waits(segment, events.len());
            events.into_iter().for_each(|(queue, line)| hand_on(Kept { segment, line, queue }));
            if torn > 0 {
                tracing::warn!(bytes = torn, "the journal ended in a line that was never completed");
            }
            self.set_aside(unreadable.iter().map(|(line, error)| refused_line(line, &chain(error))).collect()).await?;
            if is_last {
                return Ok(());
            }
            from = next;
        }
    }

    /// Counts delivered events of this segment.
    pub(crate) async fn delivered(&self, segment: u64, events: usize) {
        if self.state.delivered(segment, events) {
            self.tidy(segment).await;
        }
    }

    async fn tidy(&self, segment: u64) {
        // When the writer has ended, the segment is delivered again after the next start: idempotent.
        let _ = self.commands.send(Command::Tidy(segment)).await;
    }

    /// Sets aside, for an operator, an event that can't be delivered.
    pub(crate) async fn refuse(&self, kept: &Kept, event: &Value, reason: &str) {
        let line = json!({ "at": Utc::now(), "reason": reason, "queue": kept.queue, "event": event });
        match self.set_aside(vec![line.to_string()]).await {
            Ok(()) => self.delivered(kept.segment, 1).await,
            // It stays in its segment, and is delivered again after the next start.
            Err(error) => tracing::error!(%error, "an event can't be set aside: {error}"),
        }
    }

    async fn set_aside(&self, lines: Vec<String>) -> io::Result<()> {
        let count = lines.len();
        if count == 0 {
            return Ok(());
        }
        let folder = self.folder.clone();
        self.state.grew(blocking(move || folder.set_aside(&lines)).await?);
        tracing::error!(count, "{count} events can't be delivered; they are in {}", self.refused().display());
        Ok(())
    }
}

fn refused_line(line: &[u8], reason: &str) -> String {
    json!({ "at": Utc::now(), "reason": reason, "line": String::from_utf8_lossy(line) }).to_string()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

//! The journal: what waits on this machine's disk while the database is away (reports, steps, check-ins, heartbeats), and
//! events on their way from the bus to their consumers. Each is safe (`fsync`) before its caller has an answer, and survives a crash of this process and
//! of the machine. A record is stored as soon as the database takes it, under its own delivery key.
//!
//! - `record`: one line per record, with its checksum (pure). `segments`: the files.
//! - `writer`: appends, one `fsync` for all who wait. `replay`: the way into the database.
//! - `state`: what waits where. `events`: what the bus keeps here.
//!
//! Invariants: a segment is deleted only when each of its records is stored, each of its events delivered, or set aside in
//! `refused.jsonl`; nothing is appended to a segment of another run. What was delivered may be delivered again after a
//! crash, since only whole segments are forgotten. One process at a time: the data directory's lock sees to that.
//!
//! Users: the local stack.

mod events;
mod record;
mod replay;
mod segments;
mod state;
mod writer;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use shared::defer::{Defer, DeferError, Deferred};
use tokio::sync::{mpsc, oneshot};

pub(crate) use events::Kept;
pub(crate) use record::QueuedEvent;
pub use replay::Replayed;
use segments::Folder;
use state::State;
use writer::{Append, Command, Holds, Writer};

/// How large the journal may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All of its files together; beyond that nothing is taken.
    pub total_bytes: u64,
    /// A segment that has reached this is followed by another.
    pub segment_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total_bytes: 1024 * 1024 * 1024, segment_bytes: 8 * 1024 * 1024 }
    }
}

/// A journal in a folder of its own. Dropping it ends its writer; what it holds stays.
pub struct Journal {
    folder: Folder,
    state: Arc<State>,
    commands: mpsc::Sender<Command>,
    progress: tokio::sync::Mutex<replay::Progress>,
    /// The first segment of this run.
    first_number: u64,
    /// Where events go that a run before has left.
    left: OnceLock<mpsc::UnboundedSender<Kept>>,
}

/// Why the journal does not take something.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(
        "the journal (the data directory's `journal`) is full: it holds {bytes} bytes, and is emptied once the database is back"
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
    /// Who waits to be written beyond the group that is being written; further ones wait for their turn here.
    const WAITING: usize = 1_024;

    /// Opens the journal in this folder, which is made if there is none. What a run before has left waits to be
    /// replayed.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn open(folder: &Path) -> anyhow::Result<Arc<Self>> {
        Self::open_within(folder, Limits::default())
    }

    /// The same, of another size.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn open_within(folder: &Path, limits: Limits) -> anyhow::Result<Arc<Self>> {
        let problem = || format!("open the journal {}", folder.display());
        let folder = Folder::make(folder).with_context(problem)?;
        let (sealed, bytes) = folder.look().with_context(problem)?;
        let next_number = sealed.last().map_or(1, |last| last.saturating_add(1));
        if !sealed.is_empty() {
            tracing::warn!(bytes, "deferred records or events of the last run wait in the journal");
        }
        let state = Arc::new(State::new(sealed, bytes));
        let (commands, asked) = mpsc::channel(Self::WAITING);
        tokio::spawn(Writer::new(folder.clone(), limits, Arc::clone(&state), next_number).run(asked));
        let (progress, left) = (tokio::sync::Mutex::default(), OnceLock::new());
        Ok(Arc::new(Self { folder, state, commands, progress, first_number: next_number, left }))
    }

    /// Whether reports wait to be stored.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state.is_waiting()
    }

    /// Where records are kept for people that can never be stored.
    #[must_use]
    pub fn refused(&self) -> PathBuf {
        self.folder.refused()
    }

    async fn append(&self, records: &[Deferred]) -> Result<(), DeferError> {
        let mut lines = Vec::new();
        for deferred in records {
            let line = record::line_of(deferred).map_err(|error| DeferError::Unavailable(error.into()))?;
            if line.len() > record::LINE_BYTES {
                return Err(DeferError::TooLarge { bytes: line.len(), limit: record::LINE_BYTES });
            }
            lines.extend(line);
        }
        let taken = self.write(lines, Holds::Reports).await;
        taken.map(|_| ()).map_err(|error| DeferError::Unavailable(error.into()))
    }

    /// Returns the segment's number when the lines are safe.
    async fn write(&self, lines: Vec<u8>, holds: Holds) -> Result<u64, JournalError> {
        let (done, written) = oneshot::channel();
        match self.commands.send(Command::Append(Append { lines, holds, done })).await {
            Ok(()) => written.await.unwrap_or(Err(JournalError::Ended)),
            Err(_) => Err(JournalError::Ended),
        }
    }

    /// Lets what has come so far be replayed.
    async fn seal(&self) {
        let (done, sealed) = oneshot::channel();
        if self.commands.send(Command::Seal(done)).await.is_ok() {
            // An error means that the writer has ended, and with it its segment.
            let _ = sealed.await;
        }
    }
}

impl Defer for Journal {
    fn defer<'a>(
        &'a self,
        records: &'a [Deferred],
    ) -> Pin<Box<dyn Future<Output = Result<(), DeferError>> + Send + 'a>> {
        Box::pin(self.append(records))
    }
}

//! The journal: reports that wait on this machine's disk while the database is away. Each is safe (`fsync`) before its
//! caller has an answer, survives a crash of this process and of the machine, and is stored as soon as the database
//! takes it, under its own delivery key.
//!
//! - `record`: one line per record, with its checksum (pure). `segments`: the files.
//! - `writer`: appends, one `fsync` for all who wait. `replay`: the way into the database.
//!
//! Invariants: a segment is deleted only when each of its lines is stored or set aside in `refused.jsonl`; nothing is
//! appended to a segment of another run. One process at a time: the data directory's lock sees to that.
//!
//! Users: the local stack.

mod record;
mod replay;
mod segments;
mod writer;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use shared::defer::{Defer, DeferError};
use shared::model::Report;
use tokio::sync::{Notify, mpsc, oneshot};

pub use replay::Replayed;
use segments::Folder;
use writer::{Append, Command, Writer};

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
}

/// Why the journal does not take a report.
#[derive(Debug, Clone, thiserror::Error)]
enum JournalError {
    #[error("the journal is full: it holds {bytes} bytes")]
    Full { bytes: u64 },
    #[error("the journal can't be written")]
    Write(#[source] Arc<io::Error>),
    #[error("the journal has ended")]
    Ended,
}

/// What writer and replay both know.
#[derive(Debug, Default)]
struct State {
    files: Mutex<Files>,
    /// Told when something was appended.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Files {
    /// Segments that nothing is appended to any more.
    sealed: BTreeSet<u64>,
    /// Of everything in the folder.
    bytes: u64,
    /// Of the segment that is appended to.
    open_bytes: u64,
    /// Whether reports wait; told in the log when it changes.
    is_waiting: bool,
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
        let is_waiting = !sealed.is_empty();
        if is_waiting {
            tracing::warn!(bytes, "deferred reports of the last run wait in the journal");
        }
        let files = Mutex::new(Files { sealed, bytes, open_bytes: 0, is_waiting });
        let state = Arc::new(State { files, arrived: Notify::new() });
        let (commands, asked) = mpsc::channel(Self::WAITING);
        tokio::spawn(Writer::new(folder.clone(), limits, Arc::clone(&state), next_number).run(asked));
        Ok(Arc::new(Self { folder, state, commands, progress: tokio::sync::Mutex::default() }))
    }

    /// Whether reports wait to be stored.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state.files().is_waiting
    }

    /// Where records are kept for people that can never be stored.
    #[must_use]
    pub fn refused(&self) -> PathBuf {
        self.folder.refused()
    }

    async fn append(&self, reports: &[Report]) -> Result<(), DeferError> {
        let mut lines = Vec::new();
        for report in reports {
            let line = record::line_of(report).map_err(|error| DeferError::Unavailable(error.into()))?;
            if line.len() > record::LINE_BYTES {
                return Err(DeferError::TooLarge { bytes: line.len(), limit: record::LINE_BYTES });
            }
            lines.extend(line);
        }
        let (done, written) = oneshot::channel();
        let append = Command::Append(Append { lines, done });
        let taken = match self.commands.send(append).await {
            Ok(()) => written.await.unwrap_or(Err(JournalError::Ended)),
            Err(_) => Err(JournalError::Ended),
        };
        taken.map_err(|error| DeferError::Unavailable(error.into()))
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
    fn defer<'a>(&'a self, reports: &'a [Report]) -> Pin<Box<dyn Future<Output = Result<(), DeferError>> + Send + 'a>> {
        Box::pin(self.append(reports))
    }
}

impl State {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self) -> u64 {
        self.files().bytes
    }

    /// Something was appended, and is safe.
    fn grew(&self, bytes: u64) {
        let mut files = self.files();
        files.bytes += bytes;
        files.open_bytes += bytes;
        if !std::mem::replace(&mut files.is_waiting, true) {
            tracing::warn!("the database is away: reports are deferred to the journal");
        }
        drop(files);
        self.arrived.notify_one();
    }

    /// Nothing is appended to this segment any more.
    fn sealed(&self, number: u64) {
        let mut files = self.files();
        files.sealed.insert(number);
        files.open_bytes = 0;
    }

    /// A segment is gone.
    fn deleted(&self, number: u64, bytes: u64) {
        let mut files = self.files();
        files.sealed.remove(&number);
        files.bytes = files.bytes.saturating_sub(bytes);
    }

    /// Whether this is the moment in which nothing waits any more.
    fn is_over_now(&self) -> bool {
        let mut files = self.files();
        files.sealed.is_empty() && files.open_bytes == 0 && std::mem::take(&mut files.is_waiting)
    }
}

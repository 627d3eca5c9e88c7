//! What waits in which segment: known to the writer, the replay and the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::writer::Holds;
use crate::postgres::LOG_TARGET;

#[derive(Debug, Default)]
pub(super) struct State {
    files: Mutex<Files>,
    /// Told when a report was appended.
    pub(super) arrived: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Files {
    /// Segments that nothing is appended to any more, and that are to be replayed.
    pub(super) sealed: BTreeSet<u64>,
    /// How many events of a segment are known and not delivered.
    undelivered: BTreeMap<u64, usize>,
    /// Of everything in the folder.
    pub(super) bytes: u64,
    /// Whether the segment that is appended to holds a report.
    open_reports: bool,
    /// Whether reports wait; told in the log when it changes.
    is_waiting: bool,
}

impl Files {
    fn undelivered(&self, number: u64) -> usize {
        self.undelivered.get(&number).copied().unwrap_or(0)
    }
}

impl State {
    /// Of a folder with these segments of another run, and so many bytes.
    pub(super) fn new(sealed: BTreeSet<u64>, bytes: u64) -> Self {
        let is_waiting = !sealed.is_empty();
        Self { files: Mutex::new(Files { sealed, bytes, is_waiting, ..Files::default() }), arrived: Notify::new() }
    }

    pub(super) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files().bytes
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.files().is_waiting
    }

    /// Something was appended to this segment, and is safe.
    pub(super) fn grew(&self, number: u64, bytes: u64, held: impl Iterator<Item = Holds>) {
        let mut files = self.files();
        files.bytes += bytes;
        let mut has_reports = false;
        for holds in held {
            match holds {
                Holds::Reports => has_reports = true,
                Holds::Events(count) => *files.undelivered.entry(number).or_default() += count,
            }
        }
        if !has_reports {
            return;
        }
        files.open_reports = true;
        if !std::mem::replace(&mut files.is_waiting, true) {
            tracing::warn!(target: LOG_TARGET, "the database is away: the journal keeps what comes in");
        }
        drop(files);
        self.arrived.notify_one();
    }

    /// Nothing is appended to this segment any more. Without reports there is nothing to replay: it goes with the last of
    /// its events.
    pub(super) fn sealed(&self, number: u64) {
        let mut files = self.files();
        if std::mem::take(&mut files.open_reports) || files.undelivered(number) == 0 {
            files.sealed.insert(number);
        }
    }

    /// Events of another run were found in this segment.
    pub(super) fn found(&self, number: u64, events: usize) {
        *self.files().undelivered.entry(number).or_default() += events;
    }

    /// So many events of this segment are delivered; whether those were the last that are known.
    pub(super) fn delivered(&self, number: u64, events: usize) -> bool {
        let mut files = self.files();
        let left = files.undelivered(number).saturating_sub(events);
        if left == 0 {
            files.undelivered.remove(&number)
        } else {
            files.undelivered.insert(number, left)
        };
        left == 0
    }

    /// All reports of this segment are stored. Whether it may be deleted now: else the last of its events does that.
    pub(super) fn is_replayed(&self, number: u64) -> bool {
        let mut files = self.files();
        files.undelivered(number) == 0 || !files.sealed.remove(&number)
    }

    /// Whether nothing in this segment waits any more; `is_open`: it is the one that is appended to.
    pub(super) fn is_over(&self, number: u64, is_open: bool) -> bool {
        let files = self.files();
        let holds_reports = if is_open { files.open_reports } else { files.sealed.contains(&number) };
        files.undelivered(number) == 0 && !holds_reports
    }

    /// The segment that is appended to is empty again.
    pub(super) fn emptied(&self, bytes: u64) {
        let mut files = self.files();
        files.bytes = files.bytes.saturating_sub(bytes);
    }

    /// A segment is gone.
    pub(super) fn deleted(&self, number: u64, bytes: u64) {
        let mut files = self.files();
        files.sealed.remove(&number);
        files.bytes = files.bytes.saturating_sub(bytes);
    }

    /// Whether this is the moment in which no report waits any more, which is told in the log.
    pub(super) fn is_over_now(&self) -> bool {
        let mut files = self.files();
        let is_over = files.sealed.is_empty() && !files.open_reports && std::mem::take(&mut files.is_waiting);
        if is_over {
            tracing::info!(target: LOG_TARGET, "the database is back: nothing deferred waits any more");
        }
        is_over
    }
}

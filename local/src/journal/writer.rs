//! Appends to the journal in batches: concurrent callers share one write and one `fsync` (group commit).

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::segments::Folder;
use super::{JournalError, JournalLimits, State};

/// The most commands in a batch.
const GROUP: usize = 256;

/// A command to the writer.
pub(super) enum Command {
    /// Append these lines, and answer when they are synced.
    Append(Append),
    /// Every event of this segment is delivered: it may be deleted.
    Tidy(u64),
}

pub(super) struct Append {
    pub(super) lines: Vec<u8>,
    /// How many events they are.
    pub(super) events: usize,
    /// Answered with the place of the first line.
    pub(super) done: oneshot::Sender<Result<Place, JournalError>>,
}

/// A segment, and an offset in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) at: u64,
}

/// The open segment.
pub(super) struct Writer {
    folder: Folder,
    limits: JournalLimits,
    state: Arc<State>,
    next_number: u64,
    open: Option<Open>,
}

struct Open {
    number: u64,
    file: File,
    bytes: u64,
}

impl Writer {
    /// A writer that begins with this segment number.
    pub(super) fn new(folder: Folder, limits: JournalLimits, state: Arc<State>, next_number: u64) -> Self {
        Self { folder, limits, state, next_number, open: None }
    }

    /// Writes until the journal is dropped.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut group = Vec::with_capacity(GROUP);
        while commands.recv_many(&mut group, GROUP).await > 0 {
            let taken = std::mem::take(&mut group);
            let written = tokio::task::spawn_blocking(move || {
                self.perform(taken);
                self
            });
            match written.await {
                Ok(writer) => self = writer,
                // From now on callers get the error that the journal has ended.
                Err(error) => return tracing::error!(%error, "the journal's writer has ended"),
            }
        }
    }

    fn perform(&mut self, commands: Vec<Command>) {
        let (mut appends, mut over) = (Vec::new(), Vec::new());
        let mut room = self.limits.total_bytes.saturating_sub(self.state.bytes());
        for command in commands {
            match command {
                Command::Append(append) => match room.checked_sub(append.lines.len() as u64) {
                    Some(left) => {
                        room = left;
                        appends.push(append);
                    }
                    None => answer(append, Err(JournalError::Full { bytes: self.limits.total_bytes })),
                },
                Command::Tidy(number) => over.push(number),
            }
        }
        if !appends.is_empty() {
            let written = self.append(&appends).map_err(Arc::new);
            let mut before = 0;
            for append in appends {
                let bytes = append.lines.len() as u64;
                let place = written.clone().map(|first| Place { at: first.at + before, ..first });
                answer(append, place.map_err(JournalError::Write));
                before += bytes;
            }
        }
        over.sort_unstable();
        over.dedup();
        for number in over {
            self.tidy(number);
        }
    }

    /// Appends to the open segment. After a failure its end is undefined, so it is never written again.
    fn append(&mut self, appends: &[Append]) -> io::Result<Place> {
        let lines = appends.iter().map(|append| append.lines.as_slice()).collect::<Vec<_>>().concat();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        let place = Place { segment: open.number, at: open.bytes };
        match open.file.write_all(&lines).and_then(|()| open.file.sync_data()) {
            Ok(()) => {
                open.bytes += lines.len() as u64;
                self.state.grew(lines.len() as u64);
                self.state.waits(open.number, appends.iter().map(|append| append.events).sum());
                // A full segment is deleted with the last of its events.
                self.open = (open.bytes < self.limits.segment_bytes).then_some(open);
                Ok(place)
            }
            Err(error) => {
                // A reader recognises a torn end; truncating it only saves space.
                let _ = open.file.set_len(open.bytes);
                self.tidy(open.number);
                Err(error)
            }
        }
    }

    fn create(&mut self) -> io::Result<Open> {
        let number = self.next_number;
        // Used up even when this fails: an existing file must not be overwritten.
        self.next_number += 1;
        Ok(Open { number, file: self.folder.create(number)?, bytes: 0 })
    }

    /// Deletes a segment without waiting events; the open one is truncated and reused. Not synced: after a crash its events may
    /// be delivered again, which is idempotent.
    fn tidy(&mut self, number: u64) {
        if !self.state.is_over(number) {
            return;
        }
        let freed = match &mut self.open {
            Some(open) if open.number == number => open.file.set_len(0).map(|()| std::mem::take(&mut open.bytes)),
            _ => self.folder.delete(number),
        };
        match freed {
            Ok(bytes) => self.state.shrank(bytes),
            // The next start retries the deletion.
            Err(error) => tracing::warn!(number, %error, "segment {number} of the journal can't be deleted: {error}"),
        }
    }
}

fn answer(append: Append, result: Result<Place, JournalError>) {
    // The caller may have given up: the event is delivered all the same.
    let _ = append.done.send(result);
}

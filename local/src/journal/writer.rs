//! Appends to the journal. Whoever waits at the same time is written by one write and made safe by one `fsync`.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::segments::Folder;
use super::{JournalError, Limits, State};

/// Who waits: so many commands are taken together.
const GROUP: usize = 256;

/// What the writer is asked for.
pub(super) enum Command {
    /// Append these lines, and say when they are safe.
    Append(Append),
    /// No more to the open segment: it is to be replayed.
    Seal(oneshot::Sender<()>),
    /// Every event of this segment is delivered: what nobody needs any more may go.
    Tidy(u64),
}

pub(super) struct Append {
    pub(super) lines: Vec<u8>,
    pub(super) holds: Holds,
    /// Told the segment's number.
    pub(super) done: oneshot::Sender<Result<u64, JournalError>>,
}

/// What lines are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holds {
    Reports,
    /// So many events.
    Events(usize),
}

/// The end of the journal that grows.
pub(super) struct Writer {
    folder: Folder,
    limits: Limits,
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
    /// A writer whose first segment has this number.
    pub(super) fn new(folder: Folder, limits: Limits, state: Arc<State>, next_number: u64) -> Self {
        Self { folder, limits, state, next_number, open: None }
    }

    /// Writes until nobody can ask any more.
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
                // Who asks from now on is told that the journal takes nothing.
                Err(error) => return tracing::error!(%error, "the journal's writer has ended"),
            }
        }
    }

    fn perform(&mut self, commands: Vec<Command>) {
        let (mut appends, mut seals, mut settled) = (Vec::new(), Vec::new(), Vec::new());
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
                Command::Seal(done) => seals.push(done),
                Command::Tidy(number) => settled.push(number),
            }
        }
        if !appends.is_empty() {
            let written = self.append(&appends).map_err(Arc::new);
            for append in appends {
                answer(append, written.clone().map_err(JournalError::Write));
            }
        }
        settled.sort_unstable();
        settled.dedup();
        for number in settled {
            // What could not be tidied up is found at the next start.
            if let Err(error) = self.tidy(number) {
                tracing::warn!(number, %error, "segment {number} of the journal can't be tidied up: {error}");
            }
        }
        if !seals.is_empty() {
            self.seal();
        }
        for done in seals {
            // Who has gone does not wait.
            let _ = done.send(());
        }
    }

    /// Appends to the open segment. After a failure it is not known what its end holds, so it is never written again.
    fn append(&mut self, appends: &[Append]) -> io::Result<u64> {
        let lines = appends.iter().map(|append| append.lines.as_slice()).collect::<Vec<_>>().concat();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        match open.file.write_all(&lines).and_then(|()| open.file.sync_data()) {
            Ok(()) => {
                open.bytes += lines.len() as u64;
                let number = open.number;
                self.state.grew(number, lines.len() as u64, appends.iter().map(|append| append.holds));
                let is_full = open.bytes >= self.limits.segment_bytes;
                self.open = Some(open);
                if is_full {
                    self.seal();
                }
                Ok(number)
            }
            Err(error) => {
                // A torn end is known as such when it is read; cutting it off only saves the space.
                let _ = open.file.set_len(open.bytes);
                self.state.sealed(open.number);
                Err(error)
            }
        }
    }

    fn create(&mut self) -> io::Result<Open> {
        let number = self.next_number;
        // Used up even when this fails: what is there now is nobody's to overwrite.
        self.next_number += 1;
        Ok(Open { number, file: self.folder.create(number)?, bytes: 0 })
    }

    /// Deletes a segment that nobody needs any more; the open one is emptied and used again. That is not synced: what
    /// comes back after a crash is delivered again, which is harmless.
    fn tidy(&mut self, number: u64) -> io::Result<()> {
        let is_open = self.open.as_ref().is_some_and(|open| open.number == number);
        if !self.state.is_over(number, is_open) {
            return Ok(());
        }
        match &mut self.open {
            Some(open) if open.number == number => {
                open.file.set_len(0)?;
                self.state.emptied(std::mem::take(&mut open.bytes));
            }
            _ => {
                let bytes = self.folder.delete(number)?;
                self.state.deleted(number, bytes);
            }
        }
        Ok(())
    }

    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.state.sealed(open.number);
        }
    }
}

fn answer(append: Append, result: Result<u64, JournalError>) {
    // Who has gone does not wait: the report is stored all the same.
    let _ = append.done.send(result);
}

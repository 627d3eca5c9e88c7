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
}

pub(super) struct Append {
    pub(super) lines: Vec<u8>,
    pub(super) done: oneshot::Sender<Result<(), JournalError>>,
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
        let (mut appends, mut seals) = (Vec::new(), Vec::new());
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
            }
        }
        if !appends.is_empty() {
            let lines = appends.iter().map(|append| append.lines.as_slice()).collect::<Vec<_>>().concat();
            let written = self.append(&lines).map_err(Arc::new);
            for append in appends {
                answer(append, written.clone().map_err(JournalError::Write));
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
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        match open.file.write_all(lines).and_then(|()| open.file.sync_data()) {
            Ok(()) => {
                open.bytes += lines.len() as u64;
                self.state.grew(lines.len() as u64);
                let is_full = open.bytes >= self.limits.segment_bytes;
                self.open = Some(open);
                if is_full {
                    self.seal();
                }
                Ok(())
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

    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.state.sealed(open.number);
        }
    }
}

fn answer(append: Append, result: Result<(), JournalError>) {
    // Who has gone does not wait: the report is stored all the same.
    let _ = append.done.send(result);
}

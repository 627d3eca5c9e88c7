//! The journal's files: numbered segments, appended to at one end and deleted at the other, and what was set aside.
//!
//! Blocking: to be called on a blocking thread.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::record::{LINE_BYTES, LineError, QueuedEvent, event_in};

/// The most bytes of one read: bounded memory.
const CHUNK_LINES: usize = 100;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// The folder of the journal.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// Some lines of a segment.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The events: the queue of each, and the place of its line.
    pub(super) events: Vec<(String, Line)>,
    /// Lines that are no event, and why.
    pub(super) unreadable: Vec<(Vec<u8>, LineError)>,
    /// The bytes of an incomplete last line, whose caller got no answer.
    pub(super) torn: usize,
    /// Where the next chunk begins.
    pub(super) next: u64,
    /// Whether there is none.
    pub(super) is_last: bool,
}

/// The place of a line in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) bytes: usize,
}

impl Folder {
    /// Creates the folder if absent. Only its owner has access: it contains reports.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if let Some(parent) = path.parent() {
            sync(parent)?;
        }
        Ok(Self(path.to_owned()))
    }

    /// The numbers of the segments that are there, and the bytes of all files. An empty segment is deleted.
    pub(super) fn scan(&self) -> io::Result<(BTreeSet<u64>, u64)> {
        let (mut numbers, mut bytes) = (BTreeSet::new(), 0);
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let length = entry.metadata()?.len();
            let name = entry.file_name();
            match name.to_str().and_then(|name| name.strip_suffix(".segment")?.parse::<u64>().ok()) {
                Some(_) if length == 0 => fs::remove_file(entry.path())?,
                number => numbers.extend(number),
            }
            bytes += length;
        }
        Ok((numbers, bytes))
    }

    /// Creates a segment. The folder is synced, so that its name survives a crash, too.
    pub(super) fn create(&self, number: u64) -> io::Result<File> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.segment(number))?;
        sync(&self.0)?;
        Ok(file)
    }

    /// Deletes a segment; returns its bytes. Not synced: after a crash it may be delivered again, which is idempotent.
    pub(super) fn delete(&self, number: u64) -> io::Result<u64> {
        let path = self.segment(number);
        let bytes = fs::metadata(&path)?.len();
        fs::remove_file(path)?;
        Ok(bytes)
    }

    /// The lines of a segment from this byte on, as many as are read together.
    pub(super) fn read(&self, number: u64, from: u64) -> io::Result<Chunk> {
        let mut file = File::open(self.segment(number))?;
        file.seek(SeekFrom::Start(from))?;
        let mut lines = BufReader::new(file);
        let mut chunk = Chunk { next: from, ..Chunk::default() };
        let mut bytes = 0;
        for _ in 0..CHUNK_LINES {
            let mut line = Vec::new();
            let length = lines.by_ref().take(LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
            if length == 0 {
                chunk.is_last = true;
                break;
            }
            chunk.take(line);
            chunk.next += length as u64;
            bytes += length;
            if bytes >= CHUNK_BYTES {
                break;
            }
        }
        Ok(chunk)
    }

    /// The events at these places of a segment.
    pub(super) fn events(&self, number: u64, lines: &[Line]) -> io::Result<Vec<Result<QueuedEvent, LineError>>> {
        let file = File::open(self.segment(number))?;
        let read = |line: &Line| {
            let mut text = vec![0; line.bytes];
            file.read_exact_at(&mut text, line.at)?;
            Ok(event_in(&text))
        };
        lines.iter().map(read).collect()
    }

    /// Sets lines aside for an operator; returns their bytes. Returns when they are synced.
    pub(super) fn set_aside(&self, lines: &[String]) -> io::Result<u64> {
        let path = self.refused();
        let is_new = !path.exists();
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        if is_new {
            sync(&self.0)?;
        }
        Ok(text.len() as u64)
    }

    /// Where lines are set aside.
    pub(super) fn refused(&self) -> PathBuf {
        self.0.join("refused.jsonl")
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:012}.segment"))
    }
}

impl Chunk {
    /// Adds the next line.
    fn take(&mut self, line: Vec<u8>) {
        match event_in(&line) {
            Ok(event) => self.events.push((event.queue, Line { at: self.next, bytes: line.len() })),
            // Only the last line of a file can have no end.
            Err(_) if line.last() != Some(&b'\n') && line.len() <= LINE_BYTES => self.torn = line.len(),
            Err(_) if line.len() > LINE_BYTES => self.unreadable.push((line, LineError::TooLarge)),
            Err(error) => self.unreadable.push((line, error)),
        }
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

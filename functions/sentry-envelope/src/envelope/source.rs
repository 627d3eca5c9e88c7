//! Bytes, taken in pieces that end at a newline or after a length, and kept only up to a bound.

use std::io::{self, BufRead};

/// Where a piece ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// At the next newline, which is taken too, or with the source.
    Newline,
    /// After this many bytes, or with the source.
    After(u64),
}

/// A piece.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Its bytes, if they were no more than should be kept; else nothing useful.
    pub(super) kept: Vec<u8>,
    /// How many bytes it has: fewer than were asked for where the source ended before.
    pub(super) length: u64,
}

impl Taken {
    /// Whether all of it was kept.
    pub(super) fn is_whole(&self) -> bool {
        self.kept.len() as u64 == self.length
    }
}

/// What is read from.
pub(super) struct Source<R>(R);

impl<R: BufRead> Source<R> {
    pub(super) fn new(source: R) -> Self {
        Self(source)
    }

    /// Takes the next piece, and keeps it if it has no more bytes than `keep`.
    pub(super) fn take(&mut self, end: End, keep: usize) -> io::Result<Taken> {
        let mut taken = Taken::default();
        loop {
            if end == End::After(taken.length) {
                return Ok(taken);
            }
            let ready = self.0.fill_buf()?;
            if ready.is_empty() {
                return Ok(taken);
            }
            let newline = if end == End::Newline { ready.iter().position(|byte| *byte == b'\n') } else { None };
            let piece = match (newline, end) {
                (Some(at), _) => &ready[..at],
                (None, End::After(total)) => {
                    let missing = total - taken.length;
                    &ready[..usize::try_from(missing).map_or(ready.len(), |missing| ready.len().min(missing))]
                }
                (None, End::Newline) => ready,
            };
            let used = piece.len() + usize::from(newline.is_some());
            taken.length += piece.len() as u64;
            if taken.length <= keep as u64 {
                taken.kept.extend_from_slice(piece);
            }
            self.0.consume(used);
            if newline.is_some() {
                return Ok(taken);
            }
        }
    }

    /// Passes over blank lines, however many: they cost a sender nothing, and should cost us as little.
    pub(super) fn pass_over_blanks(&mut self) -> io::Result<()> {
        loop {
            let ready = self.0.fill_buf()?;
            let blanks = ready.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let is_over = blanks < ready.len() || ready.is_empty();
            self.0.consume(blanks);
            if is_over {
                return Ok(());
            }
        }
    }

    /// Passes over the end of a line, or of the source; false when there is neither.
    pub(super) fn end_of_line(&mut self) -> io::Result<bool> {
        if self.0.fill_buf()?.first() == Some(&b'\r') {
            self.0.consume(1);
        }
        match self.0.fill_buf()?.first() {
            None => Ok(true),
            Some(b'\n') => {
                self.0.consume(1);
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }
}

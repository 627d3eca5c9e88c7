//! Reads a stream in pieces that end at a newline or after a length; keeps at most a bounded number of bytes.

use std::io::{self, BufRead};

/// Where a piece ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// After the next newline, or at the end of the source.
    Newline,
    /// After this many bytes, or at the end of the source.
    After(u64),
}

/// A piece.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Its bytes, if there are no more than the bound; else incomplete.
    pub(super) kept: Vec<u8>,
    /// Its number of bytes: fewer than requested if the source ended.
    pub(super) length: u64,
}

impl Taken {
    /// Whether all of it was kept.
    pub(super) fn is_whole(&self) -> bool {
        self.kept.len() as u64 == self.length
    }
}

/// The source.
pub(super) struct Source<R>(R);

impl<R: BufRead> Source<R> {
    pub(super) fn new(source: R) -> Self {
        Self(source)
    }

    /// Reads the next piece; its bytes are kept if there are at most `keep`.
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

    /// Skips blank lines in bulk: a body of millions of them must be cheap.
    pub(super) fn skip_blanks(&mut self) -> io::Result<()> {
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

    /// Skips the end of a line; true also at the end of the source, false otherwise.
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

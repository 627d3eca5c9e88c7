//! A progress bar on standard error, for what takes longer than a second in front of somebody.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bar that shows how many of something are done. Silent where nobody looks; gone when dropped.
pub struct Progress {
    noun: &'static str,
    begun: Instant,
    is_seen: bool,
    drawn: Mutex<Option<Instant>>,
}

impl Progress {
    /// Whoever waits no longer than this needs no bar.
    const PATIENCE: Duration = Duration::from_secs(1);
    /// Drawn no more often than this.
    const PAUSE: Duration = Duration::from_millis(100);
    const WIDTH: usize = 30;

    /// A bar for such things (`services`), which shows nothing yet.
    #[must_use]
    pub fn of(noun: &'static str) -> Self {
        Self { noun, begun: Instant::now(), is_seen: std::io::stderr().is_terminal(), drawn: Mutex::new(None) }
    }

    /// So many are done, of so many.
    pub fn show(&self, done: usize, of: usize) {
        let now = Instant::now();
        if !self.is_seen || now - self.begun < Self::PATIENCE {
            return;
        }
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.is_some_and(|last| now - last < Self::PAUSE) {
            return;
        }
        *drawn = Some(now);
        write(&format!("\r{}", bar(done, of, self.noun)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            // Back to the beginning of the line, and rub it out.
            write("\r\u{1B}[K");
        }
    }
}

fn bar(done: usize, of: usize, noun: &str) -> String {
    let filled = (done.min(of) * Progress::WIDTH).checked_div(of).unwrap_or_default();
    let mut bar = String::with_capacity(Progress::WIDTH + 40);
    for place in 0..Progress::WIDTH {
        bar.push(if place < filled { '#' } else { '.' });
    }
    // Writing into a String can't fail.
    let _ = write!(bar, " {done} of {of} {noun}");
    bar
}

fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    // A terminal that has gone away needs no bar.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_and_never_overflows() {
        assert_eq!(bar(0, 4, "services"), format!("{} 0 of 4 services", ".".repeat(30)));
        assert_eq!(bar(2, 4, "services"), format!("{}{} 2 of 4 services", "#".repeat(15), ".".repeat(15)));
        assert_eq!(bar(4, 4, "services"), format!("{} 4 of 4 services", "#".repeat(30)));
        assert!(bar(9, 4, "x").starts_with(&"#".repeat(30)) && bar(0, 0, "x").starts_with('.'));
    }
}

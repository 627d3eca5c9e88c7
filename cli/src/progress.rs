//! A progress bar on standard error, for work that takes longer than a second. Shown on terminals only.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A progress bar. Prints nothing if standard error is no terminal; erased when dropped.
pub struct Progress {
    counts: Arc<Counts>,
    /// Redraws periodically. None if standard error is no terminal.
    drawing: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    done: AtomicUsize,
    of: AtomicUsize,
    is_drawn: AtomicBool,
}

impl Progress {
    /// The bar appears after this time.
    const DELAY: Duration = Duration::from_secs(1);
    /// The time between redraws.
    const PAUSE: Duration = Duration::from_millis(100);
    const WIDTH: usize = 30;

    /// A bar that counts these (`services`). Needs a Tokio runtime.
    #[must_use]
    pub fn of(noun: &'static str) -> Self {
        let counts = Arc::<Counts>::default();
        let drawing = std::io::stderr().is_terminal().then(|| tokio::spawn(draw(Arc::clone(&counts), noun)));
        Self { counts, drawing }
    }

    /// Sets the progress.
    pub fn show(&self, done: usize, of: usize) {
        self.counts.done.store(done, Ordering::Relaxed);
        self.counts.of.store(of, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(drawing) = &self.drawing {
            drawing.abort();
        }
        if self.counts.is_drawn.load(Ordering::Relaxed) {
            // Erase the line.
            write("\r\u{1B}[K");
        }
    }
}

async fn draw(counts: Arc<Counts>, noun: &str) {
    sleep(Progress::DELAY).await;
    loop {
        let (done, of) = (counts.done.load(Ordering::Relaxed), counts.of.load(Ordering::Relaxed));
        if of > 0 {
            counts.is_drawn.store(true, Ordering::Relaxed);
            write(&format!("\r{}", bar(done, of, noun)));
        }
        sleep(Progress::PAUSE).await;
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
    // A closed terminal is no error.
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

//! What happens while the stack runs, as people watch it: one line each, as it comes, on standard output.
//!
//! It is a layer of the logs: the local bus and [`shared::security`] log what happened under a target of their own (hidden
//! elsewhere), the stack does so about its database ([`LOG_TARGET`]), and everything that is logged as an error is shown, too. A thread of its own prints, so that a terminal that
//! has stopped reading, or has gone away, holds up nothing; under a storm it prints a few lines a second, and how many more
//! there were.
//!
//! Steps: `line` (pure: what is said of an event) → `throttle` (pure: whether it is said now) → the printing thread.

mod line;
mod throttle;

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use local::postgres::LOG_TARGET;
use shared::telemetry::{HAPPENED, REFUSED};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;

use self::line::Told;
use self::throttle::Throttle;
use crate::output::say;

/// Shows what happens. Clones share one printer.
#[derive(Clone)]
pub struct Feed {
    lines: SyncSender<Line>,
    /// Lines that found no room on their way to the printer.
    dropped: Arc<AtomicU64>,
    /// What was said in this minute, of what may come again and again.
    said: Arc<Mutex<Said>>,
    ended: Arc<Mutex<Receiver<()>>>,
}

/// What the printer is handed.
enum Line {
    /// Something that happened.
    Happened(String),
    /// The last line; it is shown however many there were.
    Last(String),
}

#[derive(Default)]
struct Said {
    minute: i64,
    texts: HashSet<String>,
}

impl Feed {
    /// Lines that may wait for the printer.
    const WAITING: usize = 1_000;
    /// As many different texts are remembered in a minute; others are not said in it.
    const TEXTS: usize = 200;
    /// The longest line where standard output is no terminal.
    const WIDTH: u16 = 80;
    /// The last lines get this long.
    const LAST_LINES: Duration = Duration::from_millis(200);

    /// A feed with its printing thread.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start() -> std::io::Result<Self> {
        let (lines, printed) = mpsc::sync_channel(Self::WAITING);
        let (end, ended) = mpsc::sync_channel(1);
        let dropped = Arc::<AtomicU64>::default();
        let missed = Arc::clone(&dropped);
        std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
            print(&printed, &missed, &end);
        })?;
        Ok(Self { lines, dropped, said: Arc::default(), ended: Arc::new(Mutex::new(ended)) })
    }

    /// Hands a line to the printer. Never waits for it.
    fn hand_over(&self, line: Line) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Shows the last line, and gives the printer a moment to end.
    pub fn end(&self, line: String) {
        self.hand_over(Line::Last(line));
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // A terminal that does not read any more is not waited for.
        let _ = ended.recv_timeout(Self::LAST_LINES);
    }

    /// What of the logs it shows.
    #[must_use]
    pub fn filter() -> Targets {
        Targets::new()
            .with_default(LevelFilter::ERROR)
            .with_target(HAPPENED, Level::DEBUG)
            .with_target(REFUSED, Level::DEBUG)
            .with_target(LOG_TARGET, Level::INFO)
    }

    fn tell(&self, told: Told, now: DateTime<Utc>) {
        if !told.repeats || self.is_new(&told.text, now) {
            self.hand_over(Line::Happened(told.line(now, crate::table::width().unwrap_or(Self::WIDTH))));
        }
    }

    /// Whether this text was not said in this minute.
    fn is_new(&self, text: &str, now: DateTime<Utc>) -> bool {
        let minute = now.timestamp() / 60;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.minute != minute {
            *said = Said { minute, ..Said::default() };
        }
        said.texts.len() < Self::TEXTS && said.texts.insert(text.to_owned())
    }
}

impl<S: Subscriber> Layer<S> for Feed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let told = match event.metadata().target() {
            HAPPENED => line::of_event(&fields.get("detail_type"), &fields.get("detail")),
            REFUSED => Some(line::of_refusal(&fields.get("kind"), &fields.get("source"), &fields.get("message"))),
            LOG_TARGET => Some(line::of_database(&fields.get("message"))),
            _ => Some(line::of_error(&fields.get("message"), &fields.get("error"))),
        };
        if let Some(told) = told {
            self.tell(told, Utc::now());
        }
    }
}

/// The fields of an event that is logged.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn get(&self, name: &str) -> String {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing into a String can't fail.
        let _ = write!(text, "{value:?}");
        self.0.push((field.name(), text));
    }
}

/// Prints until the end.
fn print(lines: &Receiver<Line>, dropped: &AtomicU64, end: &SyncSender<()>) {
    let mut throttle = Throttle::new(Instant::now());
    loop {
        let line = lines.recv_timeout(throttle.left(Instant::now()));
        let missed = dropped.swap(0, Ordering::Relaxed);
        if let Some(hidden) = throttle.roll(Instant::now(), missed) {
            say(format_args!("          … {hidden} more (`watchkeeper incidents`, and the logs)"));
        }
        match line {
            Ok(Line::Last(line)) => {
                say(line);
                break;
            }
            Ok(Line::Happened(line)) if throttle.admits() => say(line),
            Ok(Line::Happened(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // Fails only where nobody waits any more.
    let _ = end.try_send(());
}

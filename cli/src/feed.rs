//! The live feed of a running stack: one line per event, on standard output.
//!
//! It is a `tracing` layer: the local bus and [`shared::security`] log events under targets of their own (hidden
//! elsewhere), the stack logs about its database ([`LOG_TARGET`]), and all errors are shown. A thread of its own
//! prints, so that a terminal that does not read blocks nothing. The output is rate-limited: excess lines are counted.
//!
//! Steps: `line` (pure: formats and filters) → `throttle` (pure: rate limit) → the printing thread.

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

use self::line::FeedLine;
use self::throttle::Throttle;
use crate::output::say;

/// The feed. Clones share one printing thread.
#[derive(Clone)]
pub struct Feed {
    lines: SyncSender<Line>,
    /// Lines that were dropped because the queue was full.
    dropped: Arc<AtomicU64>,
    /// The repeating texts that were shown in this minute.
    shown: Arc<Mutex<ShownTexts>>,
    ended: Arc<Mutex<Receiver<()>>>,
}

/// A line for the printing thread.
enum Line {
    /// Rate-limited.
    Happened(String),
    /// The last line; always shown.
    Last(String),
}

#[derive(Default)]
struct ShownTexts {
    minute: i64,
    texts: HashSet<String>,
}

impl Feed {
    /// The bound of the queue.
    const WAITING: usize = 1_000;
    /// The most distinct repeating texts in a minute; more are not shown.
    const TEXTS: usize = 200;
    /// The line width if standard output is not a terminal.
    const WIDTH: u16 = 80;
    /// The timeout for printing the last line.
    const LAST_LINES: Duration = Duration::from_millis(200);

    /// Starts a feed and its printing thread.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start() -> std::io::Result<Self> {
        let (lines, printed) = mpsc::sync_channel(Self::WAITING);
        let (end, ended) = mpsc::sync_channel(1);
        let dropped = Arc::<AtomicU64>::default();
        let missed = Arc::clone(&dropped);
        std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
            print(&printed, &missed, &end);
        })?;
        Ok(Self { lines, dropped, shown: Arc::default(), ended: Arc::new(Mutex::new(ended)) })
    }

    /// Queues a line; drops it if the queue is full.
    fn enqueue(&self, line: Line) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Prints the last line, and waits for the thread until a timeout.
    pub fn end(&self, line: String) {
        self.enqueue(Line::Last(line));
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // A terminal that does not read must not block the stop.
        let _ = ended.recv_timeout(Self::LAST_LINES);
    }

    /// The log targets that it shows.
    #[must_use]
    pub fn filter() -> Targets {
        Targets::new()
            .with_default(LevelFilter::ERROR)
            .with_target(HAPPENED, Level::DEBUG)
            .with_target(REFUSED, Level::DEBUG)
            .with_target(LOG_TARGET, Level::INFO)
    }

    fn show(&self, line: FeedLine, now: DateTime<Utc>) {
        if !line.repeats || self.is_new(&line.text, now) {
            self.enqueue(Line::Happened(line.format(now, crate::table::width().unwrap_or(Self::WIDTH))));
        }
    }

    /// Whether this text was not shown yet in this minute.
    fn is_new(&self, text: &str, now: DateTime<Utc>) -> bool {
        let minute = now.timestamp() / 60;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.minute != minute {
            *shown = ShownTexts { minute, ..ShownTexts::default() };
        }
        shown.texts.len() < Self::TEXTS && shown.texts.insert(text.to_owned())
    }
}

impl<S: Subscriber> Layer<S> for Feed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = match event.metadata().target() {
            HAPPENED => line::of_event(&fields.get("detail_type"), &fields.get("detail")),
            REFUSED => Some(line::of_refusal(&fields.get("kind"), &fields.get("source"), &fields.get("message"))),
            LOG_TARGET => Some(line::of_database(&fields.get("message"))),
            _ => Some(line::of_error(&fields.get("message"), &fields.get("error"))),
        };
        if let Some(line) = line {
            self.show(line, Utc::now());
        }
    }
}

/// The fields of a log event.
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
    // Fails only if `end` has timed out.
    let _ = end.try_send(());
}

//! Printing. A closed pipe (`watchkeeper incidents | head`) is no error; another write error (a full disk) fails the
//! command at its end.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::Context as _;

use chrono::{DateTime, Local, Utc};
use serde_json::Value;
use shared::model::text::{first_chars, one_line};

/// The first write error on standard output.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a line to standard output. [`check_written`] returns a write error.
pub fn say(line: impl std::fmt::Display) {
    keep_error(writeln!(io::stdout(), "{line}"));
}

/// Flushes standard output, and checks that everything was written; a closed pipe is ignored.
///
/// # Errors
/// The first write error.
pub fn check_written() -> anyhow::Result<()> {
    keep_error(io::stdout().flush());
    LOST.get().map_or(Ok(()), |error| Err(error).context("write to standard output"))
}

fn keep_error(written: io::Result<()>) {
    // A closed pipe is no error.
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // The first error is kept.
        let _ = LOST.set(error);
    }
}

/// Prints a notice to standard error.
pub fn note(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "watchkeeper: {}", harmless(&line.to_string()));
}

/// Prints a question to standard error.
pub fn ask(question: impl std::fmt::Display) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "{}", harmless(&question.to_string())).and_then(|()| out.flush());
}

/// Wrong use: exit code 2, from anywhere in a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// Prints why a command failed, with all its causes; exit code 1.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "watchkeeper: {}", harmless(&format!("{error:#}")));
    ExitCode::FAILURE
}

/// Prints why a command was used wrongly; exit code 2.
pub fn misused(reason: impl std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "watchkeeper: {}", harmless(&reason.to_string()));
    ExitCode::from(2)
}

/// `1 service`, `2 services`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The text without control characters other than line breaks.
fn harmless(text: &str) -> String {
    text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

/// The text cut to this length, with an ellipsis if it was longer.
#[must_use]
pub fn shortened(text: &str, chars: usize) -> String {
    let start = first_chars(text, chars);
    if start.len() < text.len() { format!("{start}…") } else { start.to_owned() }
}

/// An instant in local time.
#[must_use]
pub fn local_time(instant: DateTime<Utc>) -> String {
    instant.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The local time of an instant in JSON; `-` if there is none.
#[must_use]
pub fn local_instant(value: &Value) -> String {
    let instant = value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
    instant.map_or_else(|| "-".to_owned(), local_time)
}

/// The text in lines of at most 80 columns: its own lines, each cut at words where it is longer; the first begins after
/// `first` spaces, those that go on after `next`.
#[must_use]
pub fn wrapped(text: &str, first: usize, next: usize) -> Vec<String> {
    let (first, next) = (" ".repeat(first), " ".repeat(next));
    let options = textwrap::Options::new(80).initial_indent(&first).subsequent_indent(&next);
    let own = text.trim_end().split('\n').map(one_line);
    own.flat_map(|line| {
        textwrap::wrap(line.trim_end(), &options).into_iter().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
    })
    .collect()
}

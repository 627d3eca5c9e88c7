//! What the tool prints. A reader that has gone away (`watchkeeper incidents | head`) is no error; output that could not be
//! written for another reason (a full disk) is one, at the command's end.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::Context as _;

use chrono::{DateTime, Local, Utc};
use serde_json::Value;
use shared::model::text::{first_chars, one_line};

/// Why standard output is not whole: the first error.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a line to standard output. What becomes of it is told by [`check_written`].
pub fn say(line: impl std::fmt::Display) {
    keep_error(writeln!(io::stdout(), "{line}"));
}

/// Whether all that was said has been written, as far as somebody reads it.
///
/// # Errors
/// Why not.
pub fn check_written() -> anyhow::Result<()> {
    keep_error(io::stdout().flush());
    LOST.get().map_or(Ok(()), |error| Err(error).context("write to standard output"))
}

fn keep_error(written: io::Result<()>) {
    // Nothing can be done about a closed pipe, and nothing needs to be.
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // Later ones follow from the first.
        let _ = LOST.set(error);
    }
}

/// Prints a line to standard error that is no failure.
pub fn note(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "watchkeeper: {}", harmless(&line.to_string()));
}

/// Asks on standard error; the answer comes on standard input.
pub fn ask(question: impl std::fmt::Display) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "{}", harmless(&question.to_string())).and_then(|()| out.flush());
}

/// Wrong use: exit code 2, wherever in a command it is noticed.
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

/// The text with its lines, without anything that could act on a terminal.
fn harmless(text: &str) -> String {
    text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

/// The text's beginning, with an ellipsis where it goes on.
#[must_use]
pub fn shortened(text: &str, chars: usize) -> String {
    let start = first_chars(text, chars);
    if start.len() < text.len() { format!("{start}…") } else { start.to_owned() }
}

/// An instant as a person here reads it.
#[must_use]
pub fn local_time(instant: DateTime<Utc>) -> String {
    instant.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The same, of an instant in JSON; `-` where there is none.
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

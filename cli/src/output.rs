//! What the tool prints. A reader that has gone away (`watchkeeper incidents | head`) is no error.

use std::io::Write as _;
use std::process::ExitCode;

use chrono::{DateTime, Local, Utc};
use comfy_table::{Table, presets};
use shared::model::text::{first_chars, one_line};

/// Prints a line to standard output.
pub fn say(line: impl std::fmt::Display) {
    // Nothing can be done about a closed pipe, and nothing needs to be.
    let _ = writeln!(std::io::stdout(), "{line}");
}

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

/// A plain table: columns aligned, no borders.
#[must_use]
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.to_vec());
    // One line per row: what a log or a message smuggles in can't forge lines or move the cursor.
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| one_line(&cell)).collect::<Vec<_>>()));
    table
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

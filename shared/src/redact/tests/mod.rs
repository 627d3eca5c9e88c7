//! Tests of redaction: what is redacted, what stays, JSON, hostile text, and properties over generated text.

mod hits;
mod hostile;
mod json;
mod misses;
mod operators;
mod properties;
mod report;

use super::Redactor;

/// The redacted text; asserts idempotence.
fn redacted(text: &str) -> String {
    let once = Redactor::default().text(text).into_owned();
    assert_eq!(Redactor::default().text(&once), once, "of {text}");
    once
}

//! Untrusted text: what Postgres can store (no NUL characters, lengths counted in characters) and what can be
//! displayed; and bytes as text.
//!
//! Users: `model::Report`, `fingerprint`, signatures, everything that displays names and messages.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// At most the first `limit` characters (not bytes) of the text.
#[must_use]
pub fn first_chars(text: &str, limit: usize) -> &str {
    match text.char_indices().nth(limit) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The text on one line, without characters that act on a terminal or are invisible.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars()
        .filter(|letter| !is_hidden(*letter))
        .map(|letter| if is_blank(letter) { ' ' } else { letter })
        .collect()
}

/// Renders as a space, though Unicode classifies it as a symbol.
const BRAILLE_BLANK: char = '\u{2800}';

/// Whether it renders as blank: white space, control characters, line ends.
#[must_use]
pub fn is_blank(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control() || letter == BRAILLE_BLANK
}

/// Whether it is invisible: direction marks, overrides and isolates, zero-width characters (but not the joiners that
/// emoji and scripts need), tags.
#[must_use]
pub fn is_hidden(letter: char) -> bool {
    matches!(letter,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}' | '\u{E0100}'..='\u{E01EF}')
}

/// The text with each NUL, which Postgres refuses, replaced by U+FFFD.
#[must_use]
pub fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// The JSON object with each NUL in its keys and strings replaced by U+FFFD.
#[must_use]
pub fn storable_object(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .map(|(key, value)| match storable(&key) {
            Cow::Borrowed(_) => (key, storable_value(value)),
            Cow::Owned(clean) => (clean, storable_value(value)),
        })
        .collect()
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The JSON value with each NUL in its keys and strings replaced by U+FFFD.
#[must_use]
pub fn storable_value(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(storable(&text).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(storable_value).collect()),
        Value::Object(object) => Value::Object(storable_object(object)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{first_chars, one_line, storable, storable_object};
    use serde_json::{Value, json};

    #[test]
    fn cutting_counts_characters_and_splits_none() {
        assert_eq!(first_chars("ab😀cd", 3), "ab😀");
        assert_eq!(first_chars("ab", 3), "ab");
        assert_eq!(first_chars("", 0), "");
    }

    #[test]
    fn one_line_has_no_invisible_or_control_characters() {
        assert_eq!(one_line("a\r\n\u{1b}[31mb\u{2028}c\u{85}d"), "a   [31mb c d");
        assert_eq!(one_line("\u{202e}gpj.exe\u{2066}\u{feff}"), "gpj.exe");
        assert_eq!(one_line("👩\u{200d}🚀 naïve"), "👩\u{200d}🚀 naïve");
    }

    #[test]
    fn nul_characters_are_replaced_at_every_depth() {
        assert_eq!(storable("a\0b"), "a\u{FFFD}b");
        let Value::Object(hostile) = json!({"k\0": ["\0", {"x": "y\0"}], "n": 1}) else { unreachable!() };
        assert_eq!(
            Value::Object(storable_object(hostile)),
            json!({"k\u{FFFD}": ["\u{FFFD}", {"x": "y\u{FFFD}"}], "n": 1})
        );
    }
}

//! The name of a services file: each row stores the file that it came from.

use std::fmt;

use serde::Serialize;

use super::text::{first_chars, is_blank, is_hidden};

/// The name of a services file: one line, at most 100 characters, as in `services.file_name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FileName(String);

impl FileName {
    /// The column's length.
    const CHARS: usize = 100;

    /// Parses a name; surrounding white space is ignored.
    ///
    /// # Errors
    /// Why it is not a valid name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let name = text.trim();
        let shows = |letter: char| letter == ' ' || !(is_blank(letter) || is_hidden(letter));
        if name.is_empty() {
            Err("must not be empty")
        } else if first_chars(name, Self::CHARS).len() < name.len() {
            Err("must have at most 100 characters")
        } else if !name.chars().all(shows) {
            Err("must be one line of visible characters")
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// A name as stored.
    #[must_use]
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::FileName;

    #[test]
    fn a_name_is_one_visible_line() {
        assert_eq!(FileName::parse(" team a ").unwrap().as_str(), "team a");
        for wrong in ["", "  ", "a\nb", "a\u{1b}[2J", "a\u{202e}b", &"x".repeat(101)] {
            assert!(FileName::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(FileName::parse(&"é".repeat(100)).is_ok());
    }
}

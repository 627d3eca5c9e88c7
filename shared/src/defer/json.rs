//! JSON that may be nested deeper than usual: a caller may nest as deep as our parser goes, and what holds such a report
//! is deeper still. Bounded all the same, because reading recurses.
//!
//! Users: `replay`, the local stack's journal, `packing`.

use serde::Deserialize as _;
use serde_json::{Deserializer, Value};

/// A body that we accept has at most 127 levels; what we wrap around it has fewer than as many again.
const LEVELS: usize = 256;

/// Why a text can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is nested too deep.
    #[error("the JSON has more than {LEVELS} levels")]
    TooDeep,
    /// It is no JSON.
    #[error("it is not JSON")]
    Syntax(#[from] serde_json::Error),
}

/// The JSON value of this text.
///
/// # Errors
/// When it is none, or nested too deep.
pub fn read(text: &[u8]) -> Result<Value, Unreadable> {
    if levels(text) > LEVELS {
        return Err(Unreadable::TooDeep);
    }
    let mut deserializer = Deserializer::from_slice(text);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// How deep a JSON text is nested. Of what is no JSON it says some number that is not too small.
pub(crate) fn levels(text: &[u8]) -> usize {
    let (mut level, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn brackets_count_outside_of_strings_only() {
        for (text, wanted) in
            [("1", 0), ("[]", 1), (r#"{"a": [{}], "b": []}"#, 3), (r#"["[[[", "\"[", "\\", [1]]"#, 2), ("]]][[", 2)]
        {
            assert_eq!(levels(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_deeper_than_our_parser_goes_is_read_and_what_is_far_deeper_is_refused() {
        assert!(serde_json::from_str::<Value>(&nested(200)).is_err());
        assert!(read(nested(200).as_bytes()).is_ok());
        for levels in [257, 100_000, 1_000_000] {
            assert!(matches!(read(nested(levels).as_bytes()), Err(Unreadable::TooDeep)), "{levels}");
            assert!(read("[".repeat(levels).as_bytes()).is_err(), "{levels}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1] 2", "\u{0}", "{\"a\": \"", "]"] {
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(read(&[b'"', 0xff, b'"']).is_err());
    }
}

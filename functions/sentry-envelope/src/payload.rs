//! Parses an item's payload as JSON, leniently. Pure.
//!
//! SDKs do not always send valid JSON: Python writes `NaN`, `Infinity` and integers of any length, and a message can
//! contain bytes that are not UTF-8. The error must not be lost for that: an invalid number becomes a string, an
//! invalid byte U+FFFD.

use serde_json::Value;
use shared::http::read_json;

/// The value; none when it can't be repaired.
pub(crate) fn json(payload: &[u8]) -> Option<Value> {
    read_json(payload).ok().or_else(|| read_json(repaired(&String::from_utf8_lossy(payload)).as_bytes()).ok())
}

/// Puts each number that can't be parsed in quotes.
fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let end = match first {
            b'"' => end_of_string(rest),
            byte if is_of_number(byte) => rest.bytes().position(|byte| !is_of_number(byte)).unwrap_or(rest.len()),
            _ => rest.bytes().position(|byte| byte == b'"' || is_of_number(byte)).unwrap_or(rest.len()),
        };
        let (part, after) = rest.split_at(end);
        if is_unreadable(part) {
            repaired.extend(["\"", part, "\""]);
        } else {
            repaired.push_str(part);
        }
        rest = after;
    }
    repaired
}

/// The end of the string that starts with the text's first quotation mark.
fn end_of_string(text: &str) -> usize {
    let mut escaped = true;
    let closing = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        // The first one opens.
        escaped = byte == b'\\' && !escaped;
        closes
    });
    closing.map_or(text.len(), |at| at + 1)
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn is_unreadable(part: &str) -> bool {
    let digits = part.strip_prefix('-').unwrap_or(part);
    let is_number = || digits.starts_with(|c: char| c.is_ascii_digit());
    matches!(digits, "NaN" | "Infinity") || (is_number() && part.parse().is_ok_and(f64::is_infinite))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn invalid_numbers_become_strings() {
        let long = "9".repeat(400);
        for (text, wanted) in [
            (
                r#"{"a":NaN,"b":-Infinity,"c":[Infinity, 1]}"#,
                json!({"a": "NaN", "b": "-Infinity", "c": ["Infinity", 1]}),
            ),
            (r#"{"a":1e999,"b":-1e999,"c":1e3}"#, json!({"a": "1e999", "b": "-1e999", "c": 1e3})),
            (&format!(r#"{{"a":{long}}}"#), json!({"a": long})),
            (r#"{"NaN":"is NaN, \" NaN","a":NaN}"#, json!({"NaN": "is NaN, \" NaN", "a": "NaN"})),
            (r#"{"a":"\\","b":NaN,"c":"\ud800"}"#, json!({"a": "\\", "b": "NaN", "c": "\u{fffd}"})),
        ] {
            assert_eq!(super::json(text.as_bytes()), Some(wanted), "{text}");
        }
    }

    #[test]
    fn invalid_bytes_are_replaced() {
        assert_eq!(super::json(b"{\"a\":\"caf\xe9\",\"b\":NaN}"), Some(json!({"a": "caf\u{fffd}", "b": "NaN"})));
    }

    #[test]
    fn other_errors_are_not_repaired() {
        for text in ["", "{", "{\"a\":nan}", "{\"a\":Infinit}", "{\"a\":1NaN}", "{\"a\":\"NaN}", "{\"a\":--1}", "\"\\"]
        {
            assert_eq!(super::json(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn valid_json_is_not_changed(text in "[-\\[\\]{}:,\"\\\\a-z0-9.NaIify ]{0,60}", number in any::<f64>()) {
            for text in [json!([text, number]).to_string(), json!({text.as_str(): number}).to_string()] {
                prop_assert_eq!(repaired(&text), text);
            }
            let _ = super::json(text.as_bytes());
        }
    }
}

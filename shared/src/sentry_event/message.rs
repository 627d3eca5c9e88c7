//! The message of an event: its exception's, else its log message, formatted with its values.

use std::borrow::Cow;

use serde_json::Value;

use super::fields::{first_bytes, part, said, scalar, text};

/// Bytes kept of a message, as in Sentry.
const MESSAGE: usize = 8_192;

/// The message of an event that has none.
const NOTHING_SAID: &str = "an event without a message";

/// A message, and the template from which it was formatted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogMessage<'a> {
    pub(super) text: Cow<'a, str>,
    /// None if it equals the message, or has no words of its own (`%s`).
    pub(super) template: Option<&'a str>,
}

impl<'a> LogMessage<'a> {
    /// The log message of an event: `logentry`, or `message` as a text or as an object like it.
    pub(super) fn of(event: &'a Value) -> Option<Self> {
        let entry = [part(event, "logentry"), part(event, "message")].into_iter().find(|entry| entry.is_object());
        let entry = entry.unwrap_or(&Value::Null);
        let template = text(entry, "message").map(|template| first_bytes(template, MESSAGE));
        let whole = text(event, "message").or_else(|| text(entry, "formatted"));
        let whole = whole.or_else(|| text(event, "logentry")).map(Cow::Borrowed);
        let text = whole.or_else(|| Some(formatted(template?, entry.get("params").unwrap_or(&Value::Null))))?;
        let template = template.filter(|template| *template != text && says_something(template));
        Some(Self { text: cut(text), template })
    }
}

/// `Type: value` of the exception, else the log message, else the title.
pub(super) fn message(event: &Value, raised: &Value, logged: Option<&LogMessage<'_>>) -> String {
    of_exception(raised)
        .or_else(|| logged.map(|message| message.text.clone().into_owned()))
        .or_else(|| text(event, "title").map(|title| first_bytes(title, MESSAGE).to_owned()))
        .unwrap_or_else(|| NOTHING_SAID.to_owned())
}

/// The exception's message.
fn of_exception(raised: &Value) -> Option<String> {
    let (kind, value) = (said(raised, "type").map(cut), said(raised, "value").map(cut));
    match (kind, value) {
        (Some(kind), Some(value)) if !value.starts_with(&*kind) => Some(format!("{kind}: {value}")),
        (kind, value) => value.or(kind).map(Cow::into_owned),
    }
}

fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(first_bytes(text, MESSAGE)),
        Cow::Owned(mut text) => {
            text.truncate(text.floor_char_boundary(MESSAGE));
            Cow::Owned(text)
        }
    }
}

/// Whether a template has words besides its placeholders.
fn says_something(template: &str) -> bool {
    let mut letters = 0;
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        if let Some(placeholder) = Placeholder::at(rest) {
            rest = &rest[placeholder.len..];
        } else {
            letters += usize::from(c.is_alphabetic());
            rest = &rest[c.len_utf8()..];
        }
    }
    letters >= 3
}

/// The template formatted with its values; a placeholder without a value stays.
fn formatted<'a>(template: &'a str, params: &Value) -> Cow<'a, str> {
    if !template.contains(['%', '{']) || !(params.is_array() || params.is_object()) {
        return Cow::Borrowed(template);
    }
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    let mut next = 0;
    while let Some(at) = rest.find(['%', '{']).filter(|_| text.len() < MESSAGE) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let placeholder = Placeholder::at(rest).unwrap_or(Placeholder { len: 1, name: Name::Itself });
        let value = match placeholder.name {
            Name::Next => params.get(next),
            Name::Number(number) => params.get(number),
            Name::Word(word) => params.get(word),
            Name::Itself => None,
        };
        match value {
            Some(value) => push_value(&mut text, value),
            None if rest.starts_with("%%") => text.push('%'),
            None => text.push_str(&rest[..placeholder.len]),
        }
        next += usize::from(matches!(placeholder.name, Name::Next));
        rest = &rest[placeholder.len..];
    }
    text.push_str(rest);
    Cow::Owned(text)
}

fn push_value(text: &mut String, value: &Value) {
    let value = scalar(value).unwrap_or_else(|| Cow::Owned(value.to_string()));
    text.push_str(first_bytes(&value, MESSAGE));
}

/// A placeholder for a value at the beginning of a text: `%s`, `%(name)d`, `{}`, `{name}`.
struct Placeholder<'a> {
    len: usize,
    name: Name<'a>,
}

enum Name<'a> {
    Next,
    Number(usize),
    Word(&'a str),
    Itself,
}

impl<'a> Placeholder<'a> {
    /// A longer one is ordinary text.
    const LENGTH: usize = 64;

    fn at(text: &'a str) -> Option<Self> {
        let near = first_bytes(text, Self::LENGTH);
        match near.as_bytes() {
            [b'%', b'%', ..] => Some(Self { len: 2, name: Name::Itself }),
            [b'%', b'(', ..] => {
                let (word, after) = near[2..].split_once(')')?;
                Some(Self { len: 3 + word.len() + conversion(after)?, name: Name::Word(word) })
            }
            [b'%', ..] => Some(Self { len: 1 + conversion(&near[1..])?, name: Name::Next }),
            [b'{', ..] => {
                let (word, _) = near[1..].split_once('}')?;
                let name = word.split([':', '!']).next().unwrap_or(word);
                let named = match name.parse() {
                    _ if name.is_empty() => Name::Next,
                    Ok(number) => Name::Number(number),
                    Err(_) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => Name::Word(name),
                    Err(_) => return None,
                };
                Some(Self { len: 2 + word.len(), name: named })
            }
            _ => None,
        }
    }
}

/// The length of `s`, `-5d`, `.2f` and the like.
fn conversion(text: &str) -> Option<usize> {
    let letter = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | '#' | '*')))?;
    matches!(
        text.as_bytes()[letter],
        b'a'..=b'g' | b'i' | b'j' | b'o' | b'p' | b'r' | b's' | b'u' | b'v' | b'x' | b'E' | b'G' | b'O' | b'X'
    )
    .then_some(letter + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_log_message_is_read_in_each_format() {
        for (event, text, template) in [
            (json!({"message": "hello"}), "hello", None),
            (json!({"message": {"formatted": "hello"}}), "hello", None),
            (json!({"logentry": "hello"}), "hello", None),
            (json!({"logentry": {"message": "hello"}}), "hello", None),
            (json!({"message": "", "logentry": {"message": "hello", "params": []}}), "hello", None),
            (json!({"sentry.interfaces.Message": {"message": "hi %s", "params": ["Ann"]}}), "hi Ann", None),
            (
                json!({"logentry": {"message": "user %s left", "formatted": "user Ann left", "params": ["Ann"]}}),
                "user Ann left",
                Some("user %s left"),
            ),
            (json!({"message": {"message": "user %s left", "params": ["Ann"]}}), "user Ann left", Some("user %s left")),
            (
                json!({"message": "user Ann left", "logentry": {"message": "user %s left"}}),
                "user Ann left",
                Some("user %s left"),
            ),
        ] {
            let found = LogMessage::of(&event).unwrap();
            assert_eq!((&*found.text, found.template), (text, template), "{event}");
        }
        for event in [json!({}), json!({"message": ""}), json!({"message": {}}), json!({"logentry": {"params": [1]}})] {
            assert_eq!(LogMessage::of(&event), None);
        }
    }

    #[test]
    fn values_replace_their_placeholders() {
        for (template, params, expected) in [
            ("%s of %d", json!(["one", 7]), "one of 7"),
            ("%-5s|%.2f|%5d%%", json!(["a", 1.5, 3]), "a|1.5|3%"),
            ("%(name)s is %(age)d", json!({"name": "Ann", "age": 7}), "Ann is 7"),
            ("{} and {}", json!(["a", "b"]), "a and b"),
            ("{1} and {0:>4}", json!(["a", "b"]), "b and a"),
            ("{name!r} left", json!({"name": "Ann"}), "Ann left"),
            ("%s %s", json!(["one"]), "one %s"),
            ("100% sure {\"a\": 1} %", json!(["x"]), "100% sure {\"a\": 1} %"),
            ("%s", json!([{"a": [1]}]), "{\"a\":[1]}"),
            ("%s", json!("x"), "%s"),
            ("%s", json!(null), "%s"),
            ("{", json!([1]), "{"),
            ("%(x", json!([1]), "%(x"),
            ("😀%s😀", json!(["ä"]), "😀ä😀"),
        ] {
            assert_eq!(formatted(template, &params), expected, "{template}");
        }
    }

    #[test]
    fn a_template_of_placeholders_alone_says_nothing() {
        for (template, says) in
            [("%s", false), ("%s: {}", false), ("%(message)s", false), ("no %s", false), ("left %s", true)]
        {
            assert_eq!(says_something(template), says, "{template}");
        }
    }

    #[test]
    fn the_exceptions_message_takes_precedence() {
        let logged = LogMessage { text: "logged".into(), template: None };
        for (raised, expected) in [
            (json!({"type": "E", "value": "v"}), "E: v"),
            (json!({"type": "E", "value": "E: v"}), "E: v"),
            (json!({"type": "E"}), "E"),
            (json!({"value": "v"}), "v"),
            (json!({"type": "E", "value": {"code": 7}}), "E: {\"code\":7}"),
            (json!({"type": "", "value": null}), "logged"),
            (json!(null), "logged"),
        ] {
            assert_eq!(message(&json!({"title": "t"}), &raised, Some(&logged)), expected, "{raised}");
        }
        assert_eq!(message(&json!({"title": "t"}), &Value::Null, None), "t");
        assert_eq!(message(&json!({}), &Value::Null, None), NOTHING_SAID);
    }

    #[test]
    fn a_message_is_cut_to_a_few_kilobytes() {
        let long = "ä%s{}".repeat(100_000);
        let params = json!([long, long]);
        let event = json!({"logentry": {"message": long, "params": params}});
        let logged = LogMessage::of(&event).unwrap();
        assert!(logged.text.len() <= MESSAGE && logged.template.unwrap().len() <= MESSAGE);
        assert!(message(&event, &json!({"type": long, "value": format!("x{long}")}), None).len() <= 2 * MESSAGE + 2);
    }
}

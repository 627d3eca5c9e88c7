//! Readers of JSON in which any field may be missing, null or of another type. They never fail: an unusable field
//! counts as missing.

use std::borrow::Cow;

use serde_json::Value;

/// A text field that is not blank.
#[must_use]
pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// An id, which Sentry writes as text or as a number.
#[must_use]
pub fn id(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The items of a list, bare or as `{"values": […]}`; empty if it is no list.
pub fn items<'a>(value: &'a Value, name: &str) -> impl DoubleEndedIterator<Item = &'a Value> + use<'a> {
    let found = value.get(name).unwrap_or(&Value::Null);
    let list = found.as_array().or_else(|| found.get("values")?.as_array());
    list.into_iter().flatten()
}

/// A tag's value. Tags are an object or a list of pairs; in older events their keys have the prefix `sentry:`.
#[must_use]
pub fn tag<'a>(event: &'a Value, name: &str) -> Option<Cow<'a, str>> {
    tags(event).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Every tag that has a value, without the prefix of its key.
pub(super) fn tags(event: &Value) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let tags = event.get("tags").unwrap_or(&Value::Null);
    let of_object = tags.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value));
    let of_list = tags.as_array().into_iter().flatten().filter_map(|pair| match pair {
        Value::Array(pair) => Some((pair.first()?.as_str()?, pair.get(1)?)),
        Value::Object(pair) => Some((pair.get("key")?.as_str()?, pair.get("value")?)),
        _ => None,
    });
    of_object
        .chain(of_list)
        .filter_map(|(key, value)| Some((key.strip_prefix("sentry:").unwrap_or(key), scalar(value)?)))
        .filter(|(key, value)| !key.trim().is_empty() && !value.trim().is_empty())
}

/// A text, number or truth value as text.
pub(super) fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A field as text, whatever its type: some SDKs send objects for texts.
pub(super) fn said<'a>(value: &'a Value, name: &str) -> Option<Cow<'a, str>> {
    let value = value.get(name)?;
    let said = match value {
        Value::String(text) => Cow::Borrowed(text.trim()),
        Value::Array(_) | Value::Object(_) => Cow::Owned(value.to_string()),
        other => scalar(other)?,
    };
    (!said.is_empty()).then_some(said)
}

/// A part of the event, under its name or the name in SDKs before 2016.
pub(super) fn part<'a>(event: &'a Value, name: &str) -> &'a Value {
    let older = match name {
        "exception" => "sentry.interfaces.Exception",
        "logentry" => "sentry.interfaces.Message",
        "stacktrace" => "sentry.interfaces.Stacktrace",
        "request" => "sentry.interfaces.Http",
        "user" => "sentry.interfaces.User",
        _ => "",
    };
    let found = event.get(name).filter(|value| !value.is_null());
    found.or_else(|| event.get(older)).unwrap_or(&Value::Null)
}

/// At most this many bytes of the text; never splits a character.
pub(super) fn first_bytes(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// A URL without its query and fragment, which may contain secrets; any other text unchanged.
pub(super) fn without_query(value: &str) -> &str {
    if value.contains("://") { before_query(value) } else { value }
}

/// The URL before its query or fragment.
pub(super) fn before_query(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_read_in_each_format() {
        for spelt in [
            json!([["sentry:release", "a@1"], ["n", 7], ["off", false], ["none", null], ["broken"], 3, [1, "x"]]),
            json!({"release": "a@1", "n": 7, "off": false, "none": null, "list": []}),
            json!([{"key": "release", "value": "a@1"}, {"key": "n", "value": "7"}, {"key": "off", "value": false}]),
        ] {
            let event = json!({ "tags": spelt });
            let found: Vec<_> = tags(&event).map(|(key, value)| format!("{key}={value}")).collect();
            let mut sorted = found.clone();
            sorted.sort();
            assert_eq!(sorted, ["n=7", "off=false", "release=a@1"]);
            assert_eq!(tag(&event, "release").as_deref(), Some("a@1"));
            assert_eq!(tag(&event, "none"), None);
        }
    }

    #[test]
    fn a_list_is_read_bare_or_under_values() {
        for event in [json!({"x": [1, 2]}), json!({"x": {"values": [1, 2]}})] {
            assert_eq!(items(&event, "x").count(), 2);
        }
        for event in [json!({}), json!({"x": null}), json!({"x": {"values": {}}}), json!([]), json!("x")] {
            assert_eq!(items(&event, "x").count(), 0);
        }
    }

    #[test]
    fn cutting_bytes_splits_no_character() {
        assert_eq!(first_bytes("a😀b", 4), "a");
        assert_eq!(first_bytes("a😀b", 5), "a😀");
        assert_eq!(first_bytes("ab", 9), "ab");
    }
}

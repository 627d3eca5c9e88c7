//! Readers of JSON in which any field may be missing, null or of another type. They never fail: what is not of use is
//! as good as missing.

use std::borrow::Cow;

use serde_json::Value;

/// A text that says something.
#[must_use]
pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// An id, which Sentry writes now as text and now as a number.
#[must_use]
pub fn id(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The items of a list, which may stand bare or as `{"values": […]}`; none when it is no list.
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
    let of_pairs = tags.as_array().into_iter().flatten().filter_map(|pair| match pair {
        Value::Array(pair) => Some((pair.first()?.as_str()?, pair.get(1)?)),
        Value::Object(pair) => Some((pair.get("key")?.as_str()?, pair.get("value")?)),
        _ => None,
    });
    of_object
        .chain(of_pairs)
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

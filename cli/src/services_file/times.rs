//! Times as people write them.

use std::time::Duration;

use toml::de::DeValue;

use super::fields::{Value, whole, wrong};
use super::problems::Read;

/// `"5s"`, `"1m 30s"`, or a whole number of seconds.
pub(super) fn time(value: &Value<'_>) -> Read<Duration> {
    match value.get_ref() {
        DeValue::Integer(_) => Ok(Duration::from_secs(whole::<u32>(value)?.into())),
        DeValue::String(text) => humantime::parse_duration(text).or_else(|error| wrong(value, error.to_string())),
        _ => wrong(value, "must be a time such as \"5s\", or a whole number of seconds"),
    }
}

/// `"800ms"`, or a whole number of milliseconds.
pub(super) fn milliseconds(value: &Value<'_>) -> Read<u32> {
    let milliseconds = match value.get_ref() {
        DeValue::Integer(_) => return whole(value),
        DeValue::String(_) => time(value)?.as_millis(),
        _ => return wrong(value, "must be a time such as \"800ms\", or a whole number of milliseconds"),
    };
    u32::try_from(milliseconds).or_else(|_| wrong(value, "is too long"))
}

/// Whole seconds, as [`time`].
pub(super) fn seconds(value: &Value<'_>) -> Read<u32> {
    let time = time(value)?;
    match u32::try_from(time.as_secs()) {
        Ok(seconds) if time.subsec_nanos() == 0 => Ok(seconds),
        _ => wrong(value, "must be whole seconds"),
    }
}

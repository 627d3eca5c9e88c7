//! HTTP statuses: `200`, `"2xx"`, `"200-299"`, or a list of such.

use std::ops::RangeInclusive;

use shared::model::Statuses;
use toml::de::DeValue;

use super::fields::{Value, list, whole, wrong};
use super::problems::Read;

/// The statuses of this value.
pub(super) fn statuses(value: &Value<'_>) -> Read<Statuses> {
    let ranges = match value.get_ref() {
        DeValue::Array(array) if array.is_empty() => return wrong(value, "must be at least one status"),
        DeValue::Array(_) => list(value, range)?,
        _ => vec![range(value)?],
    };
    Ok(Statuses::of(ranges))
}

fn range(value: &Value<'_>) -> Read<RangeInclusive<u16>> {
    const FORM: &str = "must be a status such as 200, \"2xx\" or \"200-299\", or a list of such";
    let range = match value.get_ref() {
        DeValue::Integer(_) => {
            let status = whole(value)?;
            Some(status..=status)
        }
        DeValue::String(text) => parse(text),
        _ => None,
    };
    match range {
        Some(range) if (100..=599).contains(range.start()) && *range.end() <= 599 && !range.is_empty() => Ok(range),
        Some(_) => wrong(value, "statuses are between 100 and 599, the lower one first"),
        None => wrong(value, FORM),
    }
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let text = text.trim();
    if let Some(hundred) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let first = hundred.parse::<u16>().ok().filter(|hundred| *hundred < 10)? * 100;
        return Some(first..=first + 99);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_written_in_three_ways() {
        assert_eq!(parse("200"), Some(200..=200));
        assert_eq!(parse("2xx"), Some(200..=299));
        assert_eq!(parse("200 - 204"), Some(200..=204));
        for wrong in ["", "xx", "20xx", "two", "200-", "-200", "2xx-3xx"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}

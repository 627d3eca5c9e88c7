//! A stack trace as text, the newest call first, each cause after what it caused.

use serde_json::Value;

use crate::payload::{items, text as text_of};

/// Frames that are kept of one exception, and exceptions of a chain: a deep recursion repeats itself.
const FRAMES: usize = 100;
const EXCEPTIONS: usize = 10;

/// The text of all the exceptions; none when there are none. Sentry lists the outermost last, and frames oldest first.
pub(super) fn text(exception: &Value) -> Option<String> {
    let mut lines = Vec::new();
    let values = items(exception, "values").rev().filter(|value| value.is_object()).take(EXCEPTIONS);
    for (position, value) in values.enumerate() {
        let kind = text_of(value, "type").unwrap_or("Error");
        let what = text_of(value, "value").unwrap_or_default();
        let lead = if position == 0 { "" } else { "Caused by: " };
        lines.push(format!("{lead}{kind}: {what}"));
        let stacktrace = value.get("stacktrace").unwrap_or(&Value::Null);
        lines.extend(items(stacktrace, "frames").rev().take(FRAMES).map(frame));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn frame(frame: &Value) -> String {
    let function = text_of(frame, "function").unwrap_or("?");
    let file =
        ["filename", "abs_path", "module", "package"].iter().find_map(|name| text_of(frame, name)).unwrap_or("?");
    let number = |name: &str| frame.get(name).and_then(Value::as_u64);
    let place = match (number("lineno"), number("colno")) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        (Some(line), None) => format!("{file}:{line}"),
        _ => file.to_owned(),
    };
    format!("    at {function} ({place})")
}

//! The reporter's own grouping, with its variables expanded from the report.

use std::borrow::Cow;

use serde_json::Value;

use super::frame;
use crate::model::Report;

/// A part of the reporter's own grouping.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Our default grouping.
    Default,
    /// This text.
    Text(Cow<'a, str>),
}

/// The parts; none if they add nothing to our default grouping.
pub(super) fn parts(report: &Report) -> Option<Vec<Part<'_>>> {
    let parts: Vec<_> = report.client_fingerprint.iter().map(|part| expanded(part, report)).collect();
    let says_something = |part: &Part<'_>| matches!(part, Part::Text(text) if !text.trim().is_empty());
    parts.iter().any(says_something).then_some(parts)
}

/// Expands a variable; an unknown one, or one without a value, stays as written.
fn expanded<'a>(part: &'a str, report: &'a Report) -> Part<'a> {
    let variable = part.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
    let Some(variable) = variable else { return Part::Text(part.into()) };
    let field = |name: &str| report.context.get(name).and_then(Value::as_str);
    let in_frame = |which: fn((String, String)) -> String| {
        let frame = report.crash_frame.as_deref().map(frame::normalise)?;
        let (module, function) = frame::split(&frame);
        Some(which((module.to_owned(), function.to_owned()))).filter(|text| !text.is_empty()).map(Cow::Owned)
    };
    let known = match variable.to_ascii_lowercase().as_str() {
        "default" => return Part::Default,
        "type" | "error.type" => report.error_type.as_deref().map(Cow::Borrowed),
        "value" | "error.value" | "message" => Some(Cow::Borrowed(value(report))),
        "module" | "stack.module" => in_frame(|(module, _)| module),
        "function" | "stack.function" => in_frame(|(_, function)| function),
        name @ ("transaction" | "level" | "logger") => field(name).map(Cow::Borrowed),
        name => {
            let tag = name.strip_prefix("tags.").and_then(|tag| report.context.get("tags")?.get(tag)?.as_str());
            tag.map(Cow::Borrowed)
        }
    };
    Part::Text(known.unwrap_or(Cow::Borrowed(part)))
}

/// The message without its leading type.
fn value(report: &Report) -> &str {
    let after_type =
        report.error_type.as_deref().and_then(|kind| report.message.strip_prefix(kind)?.strip_prefix(": "));
    after_type.unwrap_or(&report.message)
}

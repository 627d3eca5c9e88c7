//! `watchkeeper incident ID`: one incident in full.

use std::process::ExitCode;

use serde_json::Value;

use crate::args::{Global, ShowIncident};
use crate::config::Config;
use crate::output::{local_instant, say, wrapped};
use crate::selection::{Purpose, Target};

pub(super) async fn run(wanted: &ShowIncident, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let server = Target::of(config, &global.data_dir)?.server(Purpose::Read)?;
    let incident = server.get(&format!("/api/incidents/{}", wanted.id), &[]).await?;
    if global.json {
        say(&incident);
    } else {
        for line in lines(&incident) {
            say(line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the values of fields begin.
const INDENT: usize = 14;

/// The whole incident, at most 80 columns wide.
fn lines(incident: &Value) -> Vec<String> {
    let text = |name: &str| incident[name].as_str().unwrap_or_default();
    let mut lines = wrapped(&format!("{}  {}", text("incident_id"), text("title")), 0, 2);
    for (name, value) in fields(incident) {
        let value = wrapped(&value, INDENT, INDENT);
        let mut value = value.into_iter();
        let first = value.next().unwrap_or_default();
        lines.push(format!("{:INDENT$}{}", format!("  {name}"), first.trim_start()));
        lines.extend(value);
    }
    for (name, key) in [("message", "error_message"), ("stack trace", "stack_trace")] {
        // The title is printed already.
        if !text(key).trim().is_empty() && text(key) != text("title") {
            lines.push(format!("{name}:"));
            lines.extend(wrapped(text(key), 2, 4));
        }
    }
    if let Some(context) = incident["context"].as_object().filter(|context| !context.is_empty()) {
        lines.push("context:".to_owned());
        lines.extend(context.iter().flat_map(|(name, value)| wrapped(&format!("{name}: {}", plain(value)), 2, 4)));
    }
    lines.extend(samples(incident));
    lines.extend(timeline(incident));
    lines
}

/// The fields that have a value, with their labels.
fn fields(incident: &Value) -> Vec<(&'static str, String)> {
    let instants = ["detected_at", "last_seen_at", "reopened_at", "resolved_at"];
    let all = [
        ("status", "status"),
        ("severity", "severity"),
        ("category", "category"),
        ("application", "application"),
        ("environment", "environment"),
        ("error type", "error_type"),
        ("endpoint", "endpoint"),
        ("detected", "detected_at"),
        ("last seen", "last_seen_at"),
        ("reopened", "reopened_at"),
        ("resolved", "resolved_at"),
        ("handled by", "handled_by"),
        ("count", "occurrences"),
        ("people", "user_count"),
        ("reopenings", "reopen_count"),
        ("releases", "first_release"),
    ];
    let shown = |(name, key): (&'static str, &str)| {
        let value = &incident[key];
        let shown = match key {
            "first_release" => releases(incident),
            _ if instants.contains(&key) && value.is_string() => local_instant(value),
            _ => plain(value),
        };
        let is_empty = shown.is_empty() || (matches!(key, "user_count" | "reopen_count") && shown == "0");
        (!is_empty).then_some((name, shown))
    };
    all.into_iter().filter_map(shown).collect()
}

fn releases(incident: &Value) -> String {
    match (incident["first_release"].as_str(), incident["last_release"].as_str()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (first, last) => first.or(last).unwrap_or_default().to_owned(),
    }
}

fn samples(incident: &Value) -> Vec<String> {
    let samples = incident["samples"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    if !samples.is_empty() {
        lines.push("samples, newest first:".to_owned());
    }
    for sample in samples {
        let text = |name: &str| sample[name].as_str().unwrap_or_default();
        let words = [text("severity"), text("environment"), text("release"), text("error_message")];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        lines.extend(wrapped(&format!("{}  {}", local_instant(&sample["received_at"]), words.join("  ")), 2, 4));
    }
    lines
}

fn timeline(incident: &Value) -> Vec<String> {
    let entries = incident["timeline"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    if !entries.is_empty() {
        lines.push("timeline, newest first:".to_owned());
    }
    for entry in entries {
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        let failed = if entry["action_success"] == false { " (failed)" } else { "" };
        let what = format!("{} {}{failed}: {}", text("agent_id"), text("action_type"), text("action_description"));
        lines.extend(wrapped(&format!("{}  {what}", local_instant(&entry["timestamp"])), 2, 4));
    }
    lines
}

/// A text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_incident_is_printed_in_full_in_harmless_lines_of_80_columns() {
        let incident = json!({
            "incident_id": "INC-MWTIGJFU-L1J3P9C2", "title": "Payment \u{1b}[31mfailed", "status": "detected",
            "severity": "HIGH", "category": "backend", "application": "shop", "environment": "production",
            "endpoint": format!("/api/{}", "x".repeat(200)), "detected_at": "2026-11-30T12:00:00Z",
            "occurrences": 3, "user_count": 0, "reopen_count": 0, "first_release": "1.0", "last_release": "1.1",
            "error_message": "Payment failed\nfor order 1017", "stack_trace": "a\n  b\u{202e}\n",
            "context": {"region": "eu", "nested": {"a": [1, 2]}},
            "samples": [{"received_at": "2026-11-30T12:00:00Z", "severity": "HIGH", "error_message": "y".repeat(300)}],
            "timeline": [{"timestamp": "2026-11-30T12:00:00Z", "agent_id": "intake", "action_type": "incident_opened",
                "action_description": "Opened because nothing like it was open", "action_success": true}],
        });
        let lines = lines(&incident);
        let text = lines.join("\n");
        for line in &lines {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.chars().any(|letter| letter.is_control() || letter == '\u{202e}'), "{line:?}");
        }
        for expected in [
            "INC-MWTIGJFU-L1J3P9C2  Payment",
            "  status      detected",
            "  severity    HIGH",
            "  releases    1.0 to 1.1",
            "  for order 1017",
            "nested: {\"a\":[1,2]}",
            "samples, newest first:",
            "intake incident_opened: Opened because",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains("people"), "{text}");
    }
}

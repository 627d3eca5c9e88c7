//! The lines of the feed. Pure.

use chrono::{DateTime, Local, Utc};
use serde_json::Value;
use shared::model::text::one_line;

use crate::output::shortened;

/// A line of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FeedLine {
    /// The kind of event.
    word: String,
    /// The rest of the line.
    pub(super) text: String,
    /// Whether it is deduplicated: the same text is shown once a minute.
    pub(super) repeats: bool,
}

/// Longer errors are cut; the logs have all of it.
const ERROR_CHARS: usize = 200;

impl FeedLine {
    fn once(word: &str, text: String) -> Self {
        Self { word: word.to_owned(), text, repeats: false }
    }

    fn repeating(word: &str, text: String) -> Self {
        Self { word: word.to_owned(), text, repeats: true }
    }

    /// The line with its local time, cut to the width; errors may be longer.
    pub(super) fn format(&self, now: DateTime<Utc>, width: u16) -> String {
        let time = now.with_timezone(&Local).format("%H:%M:%S");
        let line = one_line(&format!("{time}  {:12}  {}", self.word, self.text));
        let chars = if self.repeats { ERROR_CHARS } else { usize::from(width.max(40)) };
        // Room for the ellipsis.
        if line.chars().count() > chars { shortened(&line, chars - 1) } else { line }
    }
}

/// The line of an event of the bus; none for events that are not shown.
pub(super) fn of_event(detail_type: &str, detail: &str) -> Option<FeedLine> {
    let detail: Value = serde_json::from_str(detail).ok()?;
    let text = |name: &str| detail[name].as_str().unwrap_or("-");
    let incident = |word: &str| {
        let whose = whose(text("application"), text("environment"));
        Some(FeedLine::once(word, format!("{} {whose}", text("incident_id"))))
    };
    match detail_type {
        "IncidentOpened" => {
            let whose = whose(text("application"), text("environment"));
            let text = format!("{} {} {whose}: {}", text("incident_id"), text("severity"), text("title"));
            Some(FeedLine::once("opened", text))
        }
        "IncidentReopened" => incident("reopened"),
        "IncidentAcknowledged" => incident("acknowledged"),
        "IncidentResolved" => incident("resolved"),
        "ServiceStateChanged" => {
            let whose = whose(text("service"), text("environment"));
            Some(FeedLine::once(text("to"), format!("{whose}, was {}", text("from"))))
        }
        // The line of `ServiceStateChanged` shows down and degraded.
        "AlertRaised" if detail["alert_type"] == "certificate_expiring" => {
            let whose = whose(text("service"), text("environment"));
            Some(FeedLine::once("alert", format!("{whose}: {}", text("message"))))
        }
        _ => None,
    }
}

/// The line of a refused request.
pub(super) fn of_refusal(kind: &str, source: &str, what: &str) -> FeedLine {
    let source = if source.is_empty() { "an unknown address" } else { source };
    FeedLine::repeating("refused", format!("{} from {source}: {what}", kind.replace('_', " ")))
}

/// The line about the stack's database.
pub(super) fn of_database(message: &str) -> FeedLine {
    FeedLine::once("database", message.to_owned())
}

/// The line of an error.
pub(super) fn of_error(message: &str, error: &str) -> FeedLine {
    let text =
        if error.is_empty() || message.contains(error) { message.to_owned() } else { format!("{message}: {error}") };
    FeedLine::repeating("error", text)
}

/// `shop (test)`; production is left out.
fn whose(name: &str, environment: &str) -> String {
    if environment == "production" { name.to_owned() } else { format!("{name} ({environment})") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn formatted(detail_type: &str, detail: &Value) -> Option<String> {
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        let line = of_event(detail_type, &detail.to_string())?.format(now, 80);
        assert!(line.chars().count() <= 80 && !line.chars().any(char::is_control), "{line}");
        // Without the local time.
        Some(line[10..].to_owned())
    }

    #[test]
    fn shown_events_are_one_line_and_others_have_none() {
        let opened = json!({"incident_id": "INC-MWTIGJFU-L1J3P9C2", "severity": "HIGH", "application": "shop",
            "environment": "production", "title": "Payment \u{1b}[2J\nfailed"});
        let incident = json!({"incident_id": "INC-1", "application": "shop", "environment": "test"});
        let state = json!({"service": "mail", "environment": "production", "from": "healthy", "to": "down"});
        let certificate = json!({"service": "mail", "environment": "test", "alert_type": "certificate_expiring",
            "message": "ends in 3 days"});
        for (detail_type, detail, expected) in [
            ("IncidentOpened", &opened, Some("opened        INC-MWTIGJFU-L1J3P9C2 HIGH shop: Payment  [2J failed")),
            ("IncidentReopened", &incident, Some("reopened      INC-1 shop (test)")),
            ("IncidentAcknowledged", &incident, Some("acknowledged  INC-1 shop (test)")),
            ("IncidentResolved", &incident, Some("resolved      INC-1 shop (test)")),
            ("ServiceStateChanged", &state, Some("down          mail, was healthy")),
            ("AlertRaised", &certificate, Some("alert         mail (test): ends in 3 days")),
            ("AlertRaised", &state, None),
            ("ReportDeferred", &json!({}), None),
        ] {
            assert_eq!(formatted(detail_type, detail).as_deref(), expected, "{detail_type}");
        }
        assert_eq!(of_event("IncidentOpened", "no JSON"), None);
    }

    #[test]
    fn a_long_line_ends_with_an_ellipsis_and_keeps_its_id() {
        let opened = json!({"incident_id": "INC-HEALTH-MWTIGJFU-L1J3P9C2", "severity": "CRITICAL", "application": "shop",
            "environment": "production", "title": "x".repeat(300)});
        let line = formatted("IncidentOpened", &opened).unwrap();
        assert!(line.contains("INC-HEALTH-MWTIGJFU-L1J3P9C2") && line.ends_with('…'), "{line}");
    }

    #[test]
    fn refusals_and_errors_have_reason_and_source() {
        let refused = of_refusal("wrong_key", "203.0.113.7", "the error API");
        assert_eq!(refused.text, "wrong key from 203.0.113.7: the error API");
        assert_eq!(of_refusal("bad_signature", "", "x").text, "bad signature from an unknown address: x");
        assert_eq!(of_error("a statement failed", "no table").text, "a statement failed: no table");
        assert_eq!(of_error("it failed: no table", "no table").text, "it failed: no table");
        assert!(refused.repeats);
    }
}

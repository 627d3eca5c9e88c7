//! `GET /metrics`: metrics for Prometheus, in its text format. All are gauges from the database: counters of a Lambda's
//! process, which lives for minutes, would be useless.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use chrono::Utc;
use shared::http::ApiError;
use shared::model::Severity;

use crate::App;
use crate::overall::OverallStatus;
use crate::overview::{self, Overview};

/// 200 with the metrics.
///
/// # Errors
/// 401 without the read token; 503 when the database can't be used.
pub async fn show(State(app): State<App>, parts: Parts) -> Result<impl IntoResponse, ApiError> {
    app.gate.check(&parts)?;
    let overview = overview::read(&app, Utc::now()).await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&overview)))
}

/// A gauge: name, help text, and values with their labels.
type Gauge = (&'static str, &'static str, Vec<(String, f64)>);

/// The same values as `/status`.
fn text(overview: &Overview) -> String {
    let Overview { outbox, notifications, .. } = overview;
    let plain = |value| vec![(String::new(), value)];
    let labelled = |label: &str, value: &str, figure| (format!("{{{label}=\"{value}\"}}"), figure);
    let is_now = |status: OverallStatus| f64::from(u8::from(status == overview.status));
    let open = |severity: Severity| count(overview.open_incidents.get(&severity).copied().unwrap_or_default());
    let status = |name, figure| labelled("status", name, count(figure));
    let state = |name, figure| labelled("state", name, count(figure));
    let failing = i64::try_from(notifications.failing.len()).unwrap_or(i64::MAX);
    let gauges: [Gauge; 8] = [
        (
            "watchkeeper_status",
            "1 for the overall status, 0 for the others.",
            OverallStatus::ALL.map(|it| labelled("status", it.as_str(), is_now(it))).to_vec(),
        ),
        (
            "watchkeeper_score",
            "The overall score, from 0 to 100; absent while nothing was checked.",
            overview.score.map(plain).unwrap_or_default(),
        ),
        (
            "watchkeeper_open_incidents",
            "Incidents that are not resolved.",
            Severity::ALL.map(|severity| labelled("severity", severity.as_str(), open(severity))).to_vec(),
        ),
        (
            "watchkeeper_outbox_waiting",
            "Events in the outbox that are not published yet.",
            plain(count(outbox.waiting)),
        ),
        ("watchkeeper_outbox_failing", "Events that failed to publish several times.", plain(count(outbox.failing))),
        ("watchkeeper_outbox_lag_seconds", "The age of the oldest unpublished event.", plain(outbox.lag_seconds)),
        (
            "watchkeeper_notifications",
            "Notifications that are not sent: pending, being sent, or failed.",
            vec![
                status("pending", notifications.pending),
                status("sending", notifications.sending),
                status("failed", notifications.failed),
            ],
        ),
        (
            "watchkeeper_notification_receivers",
            "Receivers that are configured, and those whose deliveries fail.",
            vec![state("configured", notifications.receivers), state("failing", failing)],
        ),
    ];
    let mut text = String::new();
    for (name, meaning, values) in gauges {
        // Writing into a string can't fail.
        let _ = writeln!(text, "# HELP {name} {meaning}\n# TYPE {name} gauge");
        for (label, value) in values {
            let _ = writeln!(text, "{name}{label} {value}");
        }
    }
    text
}

/// Prometheus has only floating-point numbers.
#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
fn count(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use shared::store::status::{Notifications, Outbox};

    use super::*;

    #[test]
    fn each_metric_has_help_type_and_values() {
        let overview = Overview {
            status: OverallStatus::Unhealthy,
            score: Some(89.0),
            open_incidents: [(Severity::Critical, 2)].into(),
            environments: [].into(),
            probing_stopped_by: None,
            warnings: vec![],
            outbox: Outbox { waiting: 3, failing: 1, lag_seconds: 2.5, last_error: None },
            notifications: Notifications {
                receivers: 4,
                failing: vec![],
                pending: 7,
                sending: 2,
                failed: 1,
                failed_today: 0,
            },
            timestamp: DateTime::UNIX_EPOCH,
        };
        let text = text(&overview);
        let wanted = "# HELP watchkeeper_outbox_waiting Events in the outbox that are not published yet.\n\
            # TYPE watchkeeper_outbox_waiting gauge\nwatchkeeper_outbox_waiting 3\n";
        assert!(text.contains(wanted), "{text}");
        for line in [
            "watchkeeper_status{status=\"unhealthy\"} 1",
            "watchkeeper_status{status=\"healthy\"} 0",
            "watchkeeper_score 89",
            "watchkeeper_open_incidents{severity=\"CRITICAL\"} 2",
            "watchkeeper_open_incidents{severity=\"LOW\"} 0",
            "watchkeeper_outbox_lag_seconds 2.5",
            "watchkeeper_notifications{status=\"pending\"} 7",
            "watchkeeper_notification_receivers{state=\"failing\"} 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
        let mut typed = 0;
        for line in text.lines() {
            typed += usize::from(line.starts_with("# TYPE"));
            assert!(line.starts_with("# ") || line.split(' ').count() == 2, "{line}");
        }
        assert_eq!(typed, 8);
        let unknown = super::text(&Overview { score: None, ..overview });
        assert!(!unknown.lines().any(|line| line.starts_with("watchkeeper_score")), "{unknown}");
    }
}

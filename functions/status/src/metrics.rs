//! `GET /metrics`: figures for Prometheus, in its text format. All of them are gauges that the database knows: counters of a
//! process that lives for minutes would tell nothing.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use chrono::Utc;
use shared::http::ApiError;
use shared::store::status::{self, Outbox, Telling};

use crate::App;

/// 200 with the figures.
///
/// # Errors
/// 401 without the read token; 503 when the database can't be used.
pub async fn show(State(app): State<App>, parts: Parts) -> Result<impl IntoResponse, ApiError> {
    app.gate.check(&parts)?;
    let now = Utc::now();
    let (outbox, telling) = app
        .store
        .run(|client| async move { Ok((status::outbox(&client, now).await?, status::telling(&client, now).await?)) })
        .await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text(&outbox, &telling)))
}

/// A gauge: its name, what it means, and its values, each with its label.
type Gauge<'a> = (&'a str, &'a str, Vec<(&'a str, f64)>);

fn text(outbox: &Outbox, telling: &Telling) -> String {
    let gauges: [Gauge<'_>; 5] = [
        ("watchkeeper_outbox_waiting", "Events that the bus has not taken yet.", vec![("", count(outbox.waiting))]),
        ("watchkeeper_outbox_failing", "Those that it has refused several times.", vec![("", count(outbox.failing))]),
        ("watchkeeper_outbox_lag_seconds", "How long the oldest of them has waited.", vec![("", outbox.lag_seconds)]),
        (
            "watchkeeper_notifications",
            "Messages to people that are not sent: they wait, are being sent, or were given up.",
            vec![
                ("{status=\"pending\"}", count(telling.pending)),
                ("{status=\"sending\"}", count(telling.sending)),
                ("{status=\"failed\"}", count(telling.failed)),
            ],
        ),
        (
            "watchkeeper_notification_receivers",
            "Receivers of messages that are configured, and those that can not be reached.",
            vec![
                ("{state=\"configured\"}", count(telling.receivers)),
                ("{state=\"failing\"}", count(i64::try_from(telling.failing.len()).unwrap_or(i64::MAX))),
            ],
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

/// Prometheus knows only floating numbers.
#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
fn count(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_help_its_type_and_its_values() {
        let outbox = Outbox { waiting: 3, failing: 1, lag_seconds: 2.5, last_error: None };
        let telling = Telling { receivers: 4, failing: vec![], pending: 7, sending: 2, failed: 1, failed_today: 0 };
        let text = text(&outbox, &telling);
        let wanted = "# HELP watchkeeper_outbox_waiting Events that the bus has not taken yet.\n\
            # TYPE watchkeeper_outbox_waiting gauge\nwatchkeeper_outbox_waiting 3\n";
        assert!(text.starts_with(wanted), "{text}");
        assert!(text.contains("\nwatchkeeper_outbox_lag_seconds 2.5\n"), "{text}");
        assert!(text.contains("\nwatchkeeper_notifications{status=\"pending\"} 7\n"), "{text}");
        assert!(text.ends_with("watchkeeper_notification_receivers{state=\"failing\"} 0\n"), "{text}");
        let mut typed = 0;
        for line in text.lines() {
            typed += usize::from(line.starts_with("# TYPE"));
            assert!(line.starts_with("# ") || line.split(' ').count() == 2, "{line}");
        }
        assert_eq!(typed, 5);
    }
}

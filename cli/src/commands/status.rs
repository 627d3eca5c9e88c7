//! `watchkeeper status`: service states, open incidents, failing receivers. Exit code 1 when something
//! is down or degraded, or a CRITICAL or HIGH incident is open.

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use humantime::format_duration;
use serde_json::Value;

use crate::args::Global;
use crate::config::Config;
use crate::output::{local_time, say, shortened};
use crate::selection::{Purpose, Target};
use crate::table::{Column, Table, cut, whole};

const COLUMNS: [Column; 8] = [
    whole("SERVICE"),
    whole("ENVIRONMENT").optional_if_same(1),
    whole("STATE"),
    whole("SINCE").optional(2),
    whole("CHECKED").optional(5),
    whole("LATENCY").optional(4),
    whole("UPTIME 24 H").optional(3),
    cut("REMARKS"),
];

pub(super) async fn run(global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let server = Target::of(config, &global.data_dir)?.server(Purpose::Read)?;
    let status = server.get("/status", &[]).await?;
    if global.json {
        say(&status);
    } else {
        print(&status, Utc::now());
    }
    let healthy = matches!(status["status"].as_str(), Some("healthy" | "unknown"));
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(status: &Value, now: DateTime<Utc>) {
    let score = status["score"].as_f64().map_or_else(|| "-".to_owned(), |score| format!("{score}"));
    say(format_args!("{} (score {score})", status["status"].as_str().unwrap_or("unknown")));
    say(format_args!("open incidents: {}", counts(&status["open_incidents"])));
    if let Some(switch) = status["probing_stopped_by"].as_str() {
        say(format_args!("probing is stopped by {switch}"));
    }
    for line in notification_problems(status, now) {
        say(line);
    }
    let mut rows = Vec::new();
    for (environment, overview) in status["environments"].as_object().into_iter().flatten() {
        for service in overview["services"].as_array().into_iter().flatten() {
            rows.push(row(environment, service, now));
        }
    }
    if !rows.is_empty() {
        say(Table::new(&COLUMNS, rows));
    }
}

/// Problems of the outbox and of receivers: what delays or prevents notifications.
fn notification_problems(status: &Value, now: DateTime<Utc>) -> Vec<String> {
    /// Longer errors are cut, to fit a line.
    const ERROR: usize = 100;
    let error = |of: &Value| of["last_error"].as_str().map(|error| format!(": {}", shortened(error, ERROR)));
    let warnings = status["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut lines: Vec<String> = warnings.map(|warning| format!("warning: {warning}")).collect();
    let outbox = &status["outbox"];
    if outbox["failing"].as_i64().is_some_and(|failing| failing > 0) {
        let (waiting, lag) = (outbox["waiting"].as_i64().unwrap_or_default(), outbox["lag_seconds"].as_f64());
        let lag = format_duration(Duration::from_secs_f64(lag.unwrap_or_default().round().max(0.0)));
        let error = error(outbox).unwrap_or_default();
        lines.push(format!("outbox: {waiting} waiting, for up to {lag}{error}"));
    }
    for receiver in status["notifications"]["failing"].as_array().into_iter().flatten() {
        let since = instant(&receiver["since"]).map(|at| format!(" for {}", distance(now, at))).unwrap_or_default();
        let name = receiver["receiver"].as_str().unwrap_or_default();
        lines.push(format!("{name}: not reached{since}{}", error(receiver).unwrap_or_default()));
    }
    lines
}

fn row(environment: &str, service: &Value, now: DateTime<Utc>) -> Vec<String> {
    let text = |name: &str| service[name].as_str().unwrap_or("-").to_owned();
    let ago = |name: &str| instant(&service[name]).map_or_else(|| "-".to_owned(), |at| distance(now, at));
    let latency = service["latency_ms"].as_i64().map_or_else(|| "-".to_owned(), |latency| format!("{latency} ms"));
    let uptime = service["uptime_24h"].as_f64().map_or_else(|| "-".to_owned(), |uptime| format!("{uptime:.2} %"));
    vec![
        text("name"),
        environment.to_owned(),
        text("state"),
        ago("since"),
        ago("last_checked_at"),
        latency,
        uptime,
        remarks(service, now),
    ]
}

/// Remarks beside the state, the most important first.
fn remarks(service: &Value, now: DateTime<Utc>) -> String {
    /// Longer errors are cut.
    const ERROR: usize = 200;
    /// Certificates that last longer than this need no remark.
    const DAYS: i64 = 30;
    let mut remarks = Vec::new();
    if let Some(by) = service["held_by"].as_str() {
        remarks.push(format!("muted: {by}"));
    }
    if service["flapping"] == true {
        remarks.push("flapping".to_owned());
    }
    if let Some(state @ ("open" | "half_open")) = service["breaker"]["state"].as_str() {
        let retry = instant(&service["breaker"]["retry_at"]).filter(|at| *at > now);
        let next = retry.map(|at| format!(", next try {}", local_time(at))).unwrap_or_default();
        remarks.push(format!("breaker {}{next}", state.replace('_', " ")));
    }
    // A healthy service may have an old reason.
    if matches!(service["state"].as_str(), Some("down" | "degraded")) {
        let texts = [service["reason"].as_str(), service["error"].as_str()];
        let texts: Vec<&str> = texts.into_iter().flatten().collect();
        if !texts.is_empty() {
            remarks.push(shortened(&texts.join(": "), ERROR));
        }
    }
    if let Some(days) = instant(&service["certificate_expires_at"]).map(|at| (at - now).num_days())
        && days <= DAYS
    {
        remarks.push(format!("certificate: {days} days left"));
    }
    remarks.join("; ")
}

fn instant(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

/// How long ago, in its two largest units: `3h 12m`.
fn distance(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let seconds = u64::try_from((now - at).num_seconds()).unwrap_or_default();
    let text = format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn counts(open: &Value) -> String {
    let counts: Vec<String> = ["CRITICAL", "HIGH", "MEDIUM", "LOW"]
        .iter()
        .filter_map(|severity| Some(format!("{} {severity}", open[severity].as_i64()?)))
        .collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn remarks_have_current_problems_only() {
        let now: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        let healthy = json!({"state": "healthy", "reason": "timeout", "error": "no answer", "breaker": {"state": "closed"},
            "certificate_expires_at": "2027-11-23T12:00:00Z"});
        assert_eq!(remarks(&healthy, now), "");
        let failing = json!({"state": "down", "reason": "status", "error": "expected 200, got 500", "flapping": true,
            "held_by": "parent database", "breaker": {"state": "half_open", "retry_at": null},
            "certificate_expires_at": "2026-11-30T12:00:00Z"});
        assert_eq!(
            remarks(&failing, now),
            "muted: parent database; flapping; breaker half open; status: expected 200, got 500; certificate: 7 days left"
        );
    }

    #[test]
    fn problems_of_notifications_are_listed_and_healthy_parts_are_not() {
        let now: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        let healthy = json!({"warnings": [], "outbox": {"waiting": 2, "failing": 0, "lag_seconds": 0.4, "last_error": null},
            "notifications": {"receivers": 1, "failing": []}});
        assert_eq!(notification_problems(&healthy, now), [""; 0]);
        let failing = json!({"warnings": ["no channel is configured: no notifications are sent"],
            "outbox": {"waiting": 2, "failing": 1, "lag_seconds": 90.4, "last_error": "ThrottlingException: slow"},
            "notifications": {"failing": [{"receiver": "slack", "since": "2026-11-23T11:00:00Z", "last_error": "503"}]}});
        assert_eq!(
            notification_problems(&failing, now),
            [
                "warning: no channel is configured: no notifications are sent",
                "outbox: 2 waiting, for up to 1m 30s: ThrottlingException: slow",
                "slack: not reached for 1h: 503",
            ]
        );
    }

    #[test]
    fn a_distance_has_two_units_at_most_and_is_never_negative() {
        let now: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        for (at, expected) in
            [("2026-11-23T11:59:58Z", "2s"), ("2026-11-20T10:58:57Z", "3days 1h"), ("2026-11-23T12:00:09Z", "0s")]
        {
            assert_eq!(distance(now, at.parse().unwrap()), expected);
        }
    }
}

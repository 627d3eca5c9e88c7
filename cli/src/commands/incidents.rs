//! `watchkeeper incidents`: the newest incidents as a table.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::args::{Global, Incidents};
use crate::config::Config;
use crate::output::{local_time, say, shortened, table};
use crate::remote::Remote;

pub(super) async fn run(wanted: &Incidents, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(config.remote_url(&global.data_dir)?)?;
    let limit = wanted.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    for (name, value) in [
        ("status", &wanted.status),
        ("severity", &wanted.severity),
        ("application", &wanted.application),
        ("environment", &wanted.environment),
    ] {
        query.extend(value.as_deref().map(|value| (name, value)));
    }
    let page = remote.get("/api/incidents", &query, config.read_token(&global.data_dir).as_ref()).await?;
    if global.json {
        say(&page);
    } else {
        print(&page);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a page of `/api/incidents`.
pub fn print(page: &Value) {
    let incidents = page["incidents"].as_array().map(Vec::as_slice).unwrap_or_default();
    if incidents.is_empty() {
        say("No incidents.");
        return;
    }
    let rows = incidents.iter().map(row).collect();
    say(table(
        &["INCIDENT", "SEVERITY", "STATUS", "CATEGORY", "APPLICATION", "ENVIRONMENT", "COUNT", "SINCE", "TITLE"],
        rows,
    ));
    if page["next_cursor"].is_string() {
        say("There are more: raise --limit, or filter.");
    }
}

fn row(incident: &Value) -> Vec<String> {
    let text = |name: &str| incident[name].as_str().unwrap_or("-").to_owned();
    let since = incident["detected_at"]
        .as_str()
        .and_then(|text| text.parse::<DateTime<Utc>>().ok())
        .map_or_else(|| "-".to_owned(), local_time);
    vec![
        text("incident_id"),
        text("severity"),
        text("status"),
        text("category"),
        text("application"),
        text("environment"),
        incident["occurrences"].to_string(),
        since,
        shortened(&text("title"), 60),
    ]
}

//! `watchkeeper incidents`: incidents as a table, open ones first, the newest change first.

use std::process::ExitCode;

use serde_json::Value;

use super::page;
use crate::args::{Global, Incidents};
use crate::config::Config;
use crate::output::{local_instant, say};
use crate::selection::{Purpose, Target};
use crate::table::{Column, Table, cut, whole};

const COLUMNS: [Column; 9] = [
    whole("INCIDENT"),
    whole("SEVERITY"),
    whole("STATUS"),
    whole("APPLICATION").optional(1),
    whole("COUNT").optional(2),
    whole("SINCE").optional(3),
    whole("ENVIRONMENT").optional(4),
    whole("CATEGORY").optional(5),
    cut("TITLE"),
];

pub(super) async fn run(wanted: &Incidents, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let server = Target::of(config, &global.data_dir)?.server(Purpose::Read)?;
    let page = page::get(
        &server,
        "/api/incidents",
        wanted.limit,
        &[
            ("status", &wanted.status),
            ("severity", &wanted.severity),
            ("application", &wanted.application),
            ("environment", &wanted.environment),
        ],
    )
    .await?;
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
    say(Table::new(&COLUMNS, incidents.iter().map(row).collect()));
    page::say_whether_more(page);
}

fn row(incident: &Value) -> Vec<String> {
    let text = |name: &str| incident[name].as_str().unwrap_or("-").to_owned();
    vec![
        text("incident_id"),
        text("severity"),
        text("status"),
        text("application"),
        incident["occurrences"].to_string(),
        local_instant(&incident["detected_at"]),
        text("environment"),
        text("category"),
        text("title"),
    ]
}

//! `watchkeeper alerts`: the alerts about services, as a table.

use std::process::ExitCode;

use serde_json::Value;

use super::page;
use crate::args::{Alerts, Global};
use crate::config::Config;
use crate::output::{local_instant, say};
use crate::selection::{Purpose, Target};
use crate::table::{Column, Table, cut, whole};

const COLUMNS: [Column; 8] = [
    whole("ALERT"),
    whole("STATUS"),
    whole("TYPE"),
    whole("SERVICE"),
    whole("ENVIRONMENT").optional_if_same(1),
    whole("SINCE").optional(2),
    whole("INCIDENT").optional(3),
    cut("MESSAGE").optional(4),
];

pub(super) async fn run(wanted: &Alerts, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let server = Target::of(config, &global.data_dir)?.server(Purpose::Read)?;
    let page = page::get(
        &server,
        "/api/alerts",
        wanted.limit,
        &[("status", &wanted.status), ("service", &wanted.service), ("environment", &wanted.environment)],
    )
    .await?;
    if global.json {
        say(&page);
    } else {
        print(&page);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(page: &Value) {
    let alerts = page["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    if alerts.is_empty() {
        say("No alerts.");
        return;
    }
    say(Table::new(&COLUMNS, alerts.iter().map(row).collect()));
    page::say_whether_more(page);
}

fn row(alert: &Value) -> Vec<String> {
    let text = |name: &str| alert[name].as_str().unwrap_or("-").to_owned();
    vec![
        text("id"),
        text("status"),
        text("alert_type"),
        text("service_name"),
        text("environment"),
        local_instant(&alert["created_at"]),
        text("incident_id"),
        text("message"),
    ]
}

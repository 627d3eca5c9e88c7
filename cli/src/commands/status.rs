//! `watchkeeper status`: how everything stands. Exit code 1 when something is down or degraded.

use std::process::ExitCode;

use serde_json::Value;

use crate::args::Global;
use crate::config::Config;
use crate::output::{say, table};
use crate::remote::Remote;

pub(super) async fn run(global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(config.remote_url(&global.data_dir)?)?;
    let status = remote.get("/status", &[], config.read_token()).await?;
    if global.json {
        say(&status);
    } else {
        print(&status);
    }
    let well = matches!(status["status"].as_str(), Some("healthy" | "unknown"));
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(status: &Value) {
    let score = status["score"].as_f64().map_or_else(|| "-".to_owned(), |score| format!("{score}"));
    say(format_args!("{} (score {score})", status["status"].as_str().unwrap_or("unknown")));
    say(format_args!("open incidents: {}", counts(&status["open_incidents"])));
    if let Some(switch) = status["probing_stopped_by"].as_str() {
        say(format_args!("probing is stopped by {switch}"));
    }
    let mut rows = Vec::new();
    for (environment, overview) in status["environments"].as_object().into_iter().flatten() {
        for service in overview["services"].as_array().into_iter().flatten() {
            let text = |name: &str| service[name].as_str().unwrap_or("-").to_owned();
            rows.push(vec![text("name"), environment.clone(), text("state"), text("last_checked_at")]);
        }
    }
    if !rows.is_empty() {
        say(table(&["SERVICE", "ENVIRONMENT", "STATE", "LAST CHECKED"], rows));
    }
}

fn counts(open: &Value) -> String {
    let counts: Vec<String> = ["CRITICAL", "HIGH", "MEDIUM", "LOW"]
        .iter()
        .filter_map(|severity| Some(format!("{} {severity}", open[severity].as_i64()?)))
        .collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

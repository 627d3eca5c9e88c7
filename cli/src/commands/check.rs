//! `watchkeeper check`: one probe round now, of every service.

use std::process::ExitCode;

use anyhow::Context as _;
use probe::{Checked, RoundReport};
use serde_json::{Value, json};
use shared::model::{Kind, ServiceState};
use shared::publish::Publisher;
use shared::store::{PoolSize, Store};

use crate::args::Global;
use crate::config::Config;
use crate::output::{counted, say, shortened, table};
use crate::progress::Progress;

pub(super) async fn run(global: &Global, config: Config) -> anyhow::Result<ExitCode> {
    let store = Store::new(&config.queries(&global.data_dir)?, "watchkeeper-cli", PoolSize::LAMBDA)?;
    let publisher = Publisher::new(store.clone(), config.bus);
    let app = probe::App::new(store, publisher, config.probe)?;
    let progress = Progress::of("services");
    let report = probe::check_now(&app, &|done, of| progress.show(done, of)).await.context("check the services")?;
    drop(progress);
    if global.json {
        say(as_json(&report));
    } else if let Some(switch) = &report.stopped_by {
        say(format_args!("Nothing was checked: {switch} says so."));
    } else if report.configured == 0 {
        say("No services are configured: add some with `watchkeeper apply FILE.toml`.");
    } else if report.checked.is_empty() {
        say(format_args!("{} being checked by another round; try again.", counted(report.configured, "service")));
    } else {
        say(as_table(&report.checked));
    }
    let all_well = report.checked.iter().all(|checked| checked.passed && checked.state != ServiceState::Down);
    let missed = report.stopped_by.is_none() && report.checked.is_empty() && report.configured > 0;
    Ok(if all_well && !missed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was found, one line per service, by environment.
pub(crate) fn as_table(checked: &[Checked]) -> comfy_table::Table {
    let mut sorted: Vec<&Checked> = checked.iter().collect();
    sorted.sort_by(|a, b| (&a.environment, &a.service).cmp(&(&b.environment, &b.service)));
    let rows = sorted.into_iter().map(row).collect();
    table(&["ENVIRONMENT", "SERVICE", "KIND", "STATE", "LATENCY", "INCIDENT", "REASON"], rows)
}

fn row(it: &Checked) -> Vec<String> {
    /// As many characters of a reason as fit a line.
    const REASON: usize = 100;
    let held = it.held_by.as_ref().filter(|_| !it.passed).map(|by| format!("held: {by}"));
    let error = it.error.as_deref().map(|error| match it.reason {
        Some(reason) if !error.is_empty() => format!("{reason}: {error}"),
        _ => error.to_owned(),
    });
    let reason: Vec<String> = held.into_iter().chain(error).collect();
    vec![
        it.environment.clone(),
        it.service.clone(),
        it.kind.to_string(),
        it.state.to_string(),
        // Nobody answers: a job comes to us.
        if it.kind == Kind::Heartbeat { "-".to_owned() } else { format!("{} ms", it.response_time_ms) },
        it.incident_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        shortened(&reason.join(", "), REASON),
    ]
}

fn as_json(report: &RoundReport) -> Value {
    let checked: Vec<Value> = report
        .checked
        .iter()
        .map(|it| {
            json!({
                "service": it.service,
                "environment": it.environment,
                "kind": it.kind,
                "passed": it.passed,
                "verdict": it.verdict,
                "state": it.state,
                "http_status": it.http_status,
                "response_time_ms": it.response_time_ms,
                "reason": it.reason,
                "error": it.error,
                "held_by": it.held_by,
                "incident_id": it.incident_id,
            })
        })
        .collect();
    json!({ "stopped_by": report.stopped_by, "checked": checked })
}

//! `watchkeeper check`: one probe round now, of every service.

use std::process::ExitCode;

use anyhow::Context as _;
use probe::{Checked, RoundReport};
use serde_json::{Value, json};
use shared::model::ServiceState;
use shared::publish::Publisher;
use shared::store::{PoolSize, Store};

use crate::args::Global;
use crate::config::Config;
use crate::output::{counted, say, table};

pub(super) async fn run(global: &Global, config: Config) -> anyhow::Result<ExitCode> {
    let store = Store::new(&config.queries(&global.data_dir)?, "watchkeeper-cli", PoolSize::LAMBDA)?;
    let publisher = Publisher::new(store.clone(), config.bus);
    let app = probe::App::new(store, publisher, config.probe)?;
    let report = probe::check_now(&app, &|_, _| {}).await.context("check the services")?;
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

/// What was found, one line per service.
pub(crate) fn as_table(checked: &[Checked]) -> comfy_table::Table {
    let rows = checked
        .iter()
        .map(|it| {
            vec![
                it.service.clone(),
                it.environment.clone(),
                it.state.to_string(),
                it.http_status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
                format!("{} ms", it.response_time_ms),
                it.incident_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                it.error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(&["SERVICE", "ENVIRONMENT", "STATE", "STATUS", "TIME", "INCIDENT", "ERROR"], rows)
}

fn as_json(report: &RoundReport) -> Value {
    let checked: Vec<Value> = report
        .checked
        .iter()
        .map(|it| {
            json!({
                "service": it.service,
                "environment": it.environment,
                "passed": it.passed,
                "state": it.state,
                "http_status": it.http_status,
                "response_time_ms": it.response_time_ms,
                "incident_id": it.incident_id,
                "error": it.error,
            })
        })
        .collect();
    json!({ "stopped_by": report.stopped_by, "checked": checked })
}

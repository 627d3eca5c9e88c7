//! `watchkeeper check`: checks every service now.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use probe::{Checked, RoundReport};
use serde_json::{Value, json};
use shared::model::{Kind, ServiceState};
use shared::publish::Publisher;
use shared::store::{PoolSize, Store};

use crate::args::Global;
use crate::config::Config;
use crate::output::{counted, say, shortened};
use crate::progress::Progress;
use crate::selection::Target;
use crate::table::{Column, Table, cut, whole};

/// How long to wait for the claims of another round; they expire within this time.
const PATIENCE: Duration = Duration::from_secs(90);

const COLUMNS: [Column; 7] = [
    whole("SERVICE"),
    whole("ENVIRONMENT").optional_if_same(1),
    whole("KIND").optional(3),
    whole("STATE"),
    whole("LATENCY").optional(2),
    whole("INCIDENT"),
    cut("REASON"),
];

pub(super) async fn run(global: &Global, config: Config) -> anyhow::Result<ExitCode> {
    let store = Store::new(&Target::of(&config, &global.data_dir)?.database()?, "watchkeeper-cli", PoolSize::LAMBDA)?;
    let publisher = Publisher::new(store.clone(), config.bus);
    let app = probe::App::new(store, publisher, config.probe)?;
    let progress = Progress::of("services");
    let report =
        probe::check_now(&app, PATIENCE, &|done, of| progress.show(done, of)).await.context("check the services")?;
    drop(progress);
    let missed = match report.stopped_by {
        Some(_) => 0,
        None => report.configured.saturating_sub(report.checked.len()),
    };
    if global.json {
        say(as_json(&report));
    } else if let Some(switch) = &report.stopped_by {
        say(format_args!("Nothing was checked: stopped by {switch}."));
    } else if report.configured == 0 {
        say("No services are configured: add some with `watchkeeper apply FILE.toml`.");
    } else {
        if !report.checked.is_empty() {
            say(as_table(&report.checked));
        }
        if missed > 0 {
            let waited = humantime::format_duration(PATIENCE);
            say(format_args!(
                "Not checked: {}, claimed by another round for more than {waited}.",
                counted(missed, "service")
            ));
        }
    }
    let all_healthy = report.checked.iter().all(|checked| checked.passed && checked.state != ServiceState::Down);
    Ok(if all_healthy && missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The results, one line per service, by environment.
fn as_table(checked: &[Checked]) -> Table {
    let mut sorted: Vec<&Checked> = checked.iter().collect();
    sorted.sort_by(|a, b| (&a.environment, &a.service).cmp(&(&b.environment, &b.service)));
    Table::new(&COLUMNS, sorted.into_iter().map(row).collect())
}

fn row(it: &Checked) -> Vec<String> {
    /// Longer reasons are cut.
    const REASON: usize = 200;
    let muted = it.held_by.as_ref().filter(|_| !it.passed).map(|by| format!("muted: {by}"));
    let error = it.error.as_deref().map(|error| match it.reason {
        Some(reason) if !error.is_empty() => format!("{reason}: {error}"),
        _ => error.to_owned(),
    });
    let reason: Vec<String> = muted.into_iter().chain(error).collect();
    vec![
        it.service.clone(),
        it.environment.clone(),
        it.kind.to_string(),
        it.state.to_string(),
        // A heartbeat has no latency: its job calls us.
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

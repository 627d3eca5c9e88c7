//! `probe`: health checks of all due services.
//!
//! - Trigger: EventBridge schedule `cron(* * * * ? *)`; its tick is the event's scheduled time, floored to the minute.
//! - Guarantees: a failure is confirmed before it counts; one open incident and one alert per service however long it
//!   fails; nothing is locked while services are checked.
//! - Idempotency key: the check's id, a `UUIDv5` of service, region and slot; claims make a second run find nothing due.
//!
//! Steps: [`app`] → claim (`shared::store::services`) → [`check`] (attempts over HTTP, [`attempt`]) → [`decide`]
//! (pure) → [`record`] (pure) → one write (`shared::store::checks`).

pub mod app;
pub mod attempt;
pub mod check;
pub mod decide;
pub mod defaults;
pub mod record;

use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use shared::model::{IncidentId, ServiceState};
use shared::store::services::{ClaimedService, Round};
use shared::store::{checks, services};
use tokio::task::JoinSet;
use uuid::Uuid;

pub use app::App;

/// A tick that arrives later than this is a missed window, not a check: the next one has come by then.
const LATE: TimeDelta = TimeDelta::seconds(90);

/// What a round found.
#[derive(Debug, Default)]
pub struct RoundReport {
    /// The switch that stopped it, if one did.
    pub stopped_by: Option<&'static str>,
    /// Each service that was checked.
    pub checked: Vec<Checked>,
}

/// What was found of one service.
#[derive(Debug)]
pub struct Checked {
    /// The service.
    pub service: String,
    /// Where it runs.
    pub environment: String,
    /// Whether it answered as expected.
    pub passed: bool,
    /// What it answered.
    pub http_status: Option<u16>,
    /// How long that took.
    pub response_time_ms: u32,
    /// Why it failed.
    pub error: Option<String>,
    /// What the service is now.
    pub state: ServiceState,
    /// Its open incident.
    pub incident_id: Option<IncidentId>,
}

/// The minute's round: checks what is due at this tick.
///
/// # Errors
/// When the database can't be used. Nothing was recorded then, and trying again is harmless.
pub async fn handle(app: &App, scheduled: DateTime<Utc>) -> anyhow::Result<RoundReport> {
    let now = Utc::now();
    let tick = scheduled.duration_trunc(TimeDelta::minutes(1)).unwrap_or(scheduled);
    if now - tick > LATE {
        tracing::warn!(%tick, "a late tick is a missed window");
        return Ok(RoundReport::default());
    }
    run(app, Round::Due(tick), now).await
}

/// A round out of turn: checks every service now.
///
/// # Errors
/// When the database can't be used.
pub async fn check_now(app: &App) -> anyhow::Result<RoundReport> {
    run(app, Round::All, Utc::now()).await
}

async fn run(app: &App, round: Round, now: DateTime<Utc>) -> anyhow::Result<RoundReport> {
    app.ensure_default_services().await?;
    let id = Uuid::new_v4();
    let claim = app
        .store
        .run(|client| async move { services::claim(&client, id, round, now).await })
        .await
        .context("claim the services that are due")?;
    if let Some(switch) = claim.stopped_by {
        tracing::info!(switch, "probing is switched off by {switch}");
        return Ok(RoundReport { stopped_by: Some(switch), checked: Vec::new() });
    }
    let checked = check_all(app, claim.services).await?;
    let tick = match round {
        Round::Due(tick) => tick,
        Round::All => now,
    };
    store(app, id, tick, checked).await
}

/// Checks all at once, each within twice its own time-out.
async fn check_all(app: &App, claimed: Vec<ClaimedService>) -> anyhow::Result<Vec<(ClaimedService, check::Outcome)>> {
    let mut running = JoinSet::new();
    for claimed in claimed {
        let clients = Arc::clone(&app.clients);
        running.spawn(async move {
            let outcome = check::run(&clients, &claimed.service).await;
            (claimed, outcome)
        });
    }
    let mut checked = Vec::with_capacity(running.len());
    while let Some(result) = running.join_next().await {
        checked.push(result.context("run a check")?);
    }
    checked.sort_by(|(a, _), (b, _)| {
        (&a.service.environment, &a.service.name).cmp(&(&b.service.environment, &b.service.name))
    });
    Ok(checked)
}

async fn store(
    app: &App,
    claim: Uuid,
    tick: DateTime<Utc>,
    checked: Vec<(ClaimedService, check::Outcome)>,
) -> anyhow::Result<RoundReport> {
    if checked.is_empty() {
        return Ok(RoundReport::default());
    }
    let region = app.region.as_str();
    let records: Vec<checks::CheckRecord> =
        checked.iter().map(|(claimed, outcome)| record::of(claimed, outcome, region)).collect();
    let records = records.as_slice();
    let receipts = app
        .store
        .run(|client| async move { checks::insert(&client, claim, records, region, tick).await })
        .await
        .context("record the checks")?;
    let checked = checked
        .iter()
        .zip(records)
        .map(|((claimed, outcome), record)| {
            let receipt = receipts.iter().find(|receipt| receipt.check_id == record.check_id.as_str());
            let checked = Checked {
                service: claimed.service.name.clone(),
                environment: claimed.service.environment.clone(),
                passed: record.passed,
                http_status: outcome.http_status(),
                response_time_ms: record.response_time_ms,
                error: record.error.clone(),
                state: record.state,
                incident_id: receipt.and_then(|receipt| receipt.incident_id.clone()),
            };
            log(&checked, claimed.service.state);
            checked
        })
        .collect();
    Ok(RoundReport { stopped_by: None, checked })
}

fn log(checked: &Checked, before: ServiceState) {
    let Checked { service, environment, state, .. } = checked;
    match (&checked.error, &checked.incident_id) {
        (Some(error), Some(incident)) => {
            tracing::warn!(service, environment, incident.id = %incident, "{service} fails: {error} ({incident})");
        }
        (Some(error), None) => tracing::warn!(service, environment, "{service} fails: {error}"),
        (None, _) if *state != before => tracing::info!(service, environment, "{service} is {state} (was {before})"),
        (None, _) => tracing::debug!(service, environment, "{service} passed"),
    }
}

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
pub mod breaker;
pub mod check;
pub mod decide;
pub mod defaults;
pub mod record;
pub mod suspicion;
pub mod votes;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use shared::model::{IncidentId, ServiceState};
use shared::store::probing::{CLAIM_LIMIT, Claim, ClaimedService, Round};
use shared::store::{checks, probing};
use tokio::task::JoinSet;
use uuid::Uuid;

pub use app::App;

/// A tick that arrives later than this is a missed window, not a check: the next one has come by then.
const LATE: TimeDelta = TimeDelta::seconds(90);

/// Results that arrive within this time of each other are written together; a service that hangs holds up nobody else's.
const GATHER: Duration = Duration::from_secs(1);

/// What a round found.
#[derive(Debug, Default)]
pub struct RoundReport {
    /// The switch that stopped it, if one did.
    pub stopped_by: Option<String>,
    /// How many services are to be probed at all.
    pub configured: usize,
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
    run(app, Round::Due(tick)).await
}

/// A round out of turn: checks every service now.
///
/// # Errors
/// When the database can't be used.
pub async fn check_now(app: &App) -> anyhow::Result<RoundReport> {
    run(app, Round::All(Utc::now())).await
}

async fn run(app: &App, round: Round) -> anyhow::Result<RoundReport> {
    app.ensure_default_services().await?;
    let mut report = RoundReport::default();
    loop {
        let claim = claim(app, round).await?;
        let full = i64::try_from(claim.services.len()).is_ok_and(|claimed| claimed >= CLAIM_LIMIT);
        report.configured = claim.configured;
        if let Some(switch) = &claim.stopped_by {
            tracing::info!(switch, "probing is switched off by {switch}");
            report.stopped_by = claim.stopped_by;
            return Ok(report);
        }
        check_and_store(app, claim, round, &mut report.checked).await?;
        if !full {
            break;
        }
    }
    report.checked.sort_by(|a, b| (&a.environment, &a.service).cmp(&(&b.environment, &b.service)));
    Ok(report)
}

async fn claim(app: &App, round: Round) -> anyhow::Result<Claim> {
    let (id, now) = (Uuid::new_v4(), Utc::now());
    let region = app.region.as_str();
    app.store
        .run(|client| async move { probing::claim(&client, id, round, region, now).await })
        .await
        .context("claim the services that are due")
}

/// Checks all of a claim at once, each within twice its own time-out, and writes what is there as it comes.
async fn check_and_store(app: &App, claim: Claim, round: Round, checked: &mut Vec<Checked>) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    for claimed in claim.services {
        let clients = Arc::clone(&app.clients);
        running.spawn(async move {
            let outcome = check::run(&clients, &claimed.service).await;
            (claimed, outcome)
        });
    }
    while let Some(first) = running.join_next().await {
        let mut ended = vec![first.context("run a check")?];
        let gathered = tokio::time::sleep(GATHER);
        tokio::pin!(gathered);
        loop {
            tokio::select! {
                next = running.join_next() => match next {
                    Some(next) => ended.push(next.context("run a check")?),
                    None => break,
                },
                () = &mut gathered => break,
            }
        }
        // What we could not ask says nothing about the service: when its claim has ended, the next tick asks again.
        ended.retain(|(claimed, outcome)| {
            if outcome.is_ours() {
                let (service, error) = (&claimed.service.spec.name, outcome.failure_text());
                tracing::error!(service, error, "{service} was not checked: {error}");
            }
            !outcome.is_ours()
        });
        checked.extend(store(app, claim.id, round, &ended).await?);
    }
    Ok(())
}

async fn store(
    app: &App,
    claim: Uuid,
    round: Round,
    ended: &[(ClaimedService, check::Outcome)],
) -> anyhow::Result<Vec<Checked>> {
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let region = app.region.as_str();
    let tick = match round {
        Round::Due(tick) | Round::All(tick) => tick,
    };
    let records: Vec<checks::CheckRecord> =
        ended.iter().map(|(claimed, outcome)| record::of(claimed, outcome, region)).collect();
    let records = records.as_slice();
    let receipts = app
        .store
        .run(|client| async move { checks::insert(&client, claim, records, region, tick).await })
        .await
        .context("record the checks")?;
    let events: Vec<Uuid> = records.iter().flat_map(checks::CheckRecord::event_ids).collect();
    app.publisher.publish(&events).await;
    let checked = ended.iter().zip(records).map(|((claimed, outcome), record)| {
        let receipt = receipts.iter().find(|receipt| receipt.check_id == record.check_id.as_str());
        let checked = Checked {
            service: claimed.service.spec.name.clone(),
            environment: claimed.service.spec.environment.clone(),
            passed: record.passed,
            http_status: outcome.http_status(),
            response_time_ms: record.response_time_ms,
            error: record.error.clone(),
            state: record.state,
            incident_id: receipt.and_then(|receipt| receipt.incident_id.clone()),
        };
        log(&checked, claimed.service.standing.state);
        checked
    });
    Ok(checked.collect())
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

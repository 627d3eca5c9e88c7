//! `probe`: health checks of all due services.
//!
//! - Trigger: EventBridge schedule `cron(* * * * ? *)`; its tick is the event's scheduled time, floored to the minute.
//!   Services that are checked each half minute are asked at :30 by the same invocation.
//! - Guarantees: a failure is confirmed before it counts; one open incident and one alert per service however long it
//!   fails; nothing is locked while services are checked.
//! - Idempotency key: the check's id, a `UUIDv5` of service, region and slot; claims make a second run find nothing due.
//!
//! Steps: [`app`] → `round` (claim: `shared::store::probing`) → [`check`] (attempts, over [`net`]) → [`votes`], [`decide`],
//! [`breaker`], [`suspicion`] (pure) → [`record`] (pure) → one write (`shared::store::checks`).

pub mod app;
pub mod breaker;
pub mod check;
pub mod conditions;
pub mod decide;
pub mod defaults;
pub mod net;
mod network;
pub mod record;
mod round;
pub mod suspicion;
pub mod votes;

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, DurationRound as _, TimeDelta, Timelike as _, Utc};
use shared::model::{FailureReason, IncidentId, Kind, ServiceState, Verdict};
use shared::store::probing::Round;
use shared::store::retention;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use app::App;
use round::Watching;

/// A tick that arrives later than this is a missed window, not a check: the next one has come by then.
const LATE: TimeDelta = TimeDelta::seconds(60);

/// What has been kept long enough is deleted each so many minutes, for at most so long.
const RETENTION_MINUTES: u32 = 5;
const RETENTION_TIME: Duration = Duration::from_secs(10);

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
    /// What kind of check it is.
    pub kind: Kind,
    /// Whether it did not fail.
    pub passed: bool,
    /// What was found.
    pub verdict: Verdict,
    /// What the service is now.
    pub state: ServiceState,
    /// What it answered.
    pub http_status: Option<u16>,
    /// How long that took.
    pub response_time_ms: u32,
    /// Why it failed or is degraded, for a machine.
    pub reason: Option<FailureReason>,
    /// The same for a person.
    pub error: Option<String>,
    /// Its open incident.
    pub incident_id: Option<IncidentId>,
    /// Why nobody is told while it fails.
    pub held_by: Option<String>,
}

/// The minute's round: checks what is due at this tick, and 30 seconds later what is due then.
///
/// # Errors
/// When the database can't be used. Nothing was recorded then, and trying again is harmless.
pub async fn handle(app: &App, scheduled: DateTime<Utc>) -> anyhow::Result<RoundReport> {
    let tick = scheduled.duration_trunc(TimeDelta::minutes(1)).unwrap_or(scheduled);
    if Utc::now() - tick > LATE {
        tracing::warn!(%tick, "a late tick is a missed window");
        return Ok(RoundReport::default());
    }
    app.ensure_default_services().await?;
    let (told, half_minutes) = oneshot::channel();
    let watching = Watching {
        progress: &|_, _| {},
        // Nobody listens any more when the second half has failed.
        half_minutes: Box::new(move |some| {
            let _ = told.send(some);
        }),
    };
    let first = round::run(app, Round::Due(tick), watching);
    let second = second_half(app, tick, half_minutes);
    let (first, second) = tokio::join!(first, second);
    let mut report = first?;
    report.checked.extend(second?.checked);
    if tick.minute().is_multiple_of(RETENTION_MINUTES) {
        delete_expired(app).await?;
    }
    Ok(report)
}

/// What is due at :30, if anything is.
async fn second_half(
    app: &App,
    tick: DateTime<Utc>,
    half_minutes: oneshot::Receiver<bool>,
) -> anyhow::Result<RoundReport> {
    if !half_minutes.await.unwrap_or(false) {
        return Ok(RoundReport::default());
    }
    let half = tick + TimeDelta::seconds(30);
    tokio::time::sleep((half - Utc::now()).to_std().unwrap_or_default()).await;
    round::run(app, Round::Due(half), Watching { progress: &|_, _| {}, half_minutes: Box::new(|_| ()) }).await
}

/// A round out of turn: checks every service now. `progress` hears how many are done, of how many.
///
/// # Errors
/// When the database can't be used.
pub async fn check_now(app: &App, progress: &(dyn Fn(usize, usize) + Sync)) -> anyhow::Result<RoundReport> {
    app.ensure_default_services().await?;
    let mut report = RoundReport::default();
    let begun = Utc::now();
    loop {
        let watching = Watching { progress, half_minutes: Box::new(|_| ()) };
        let some = round::run(app, Round::All(begun), watching).await?;
        report.stopped_by = some.stopped_by;
        report.configured = some.configured;
        let none = some.checked.is_empty();
        report.checked.extend(some.checked);
        if none || report.checked.len() >= report.configured {
            break;
        }
    }
    report.checked.sort_by(|a, b| (&a.environment, &a.service).cmp(&(&b.environment, &b.service)));
    Ok(report)
}

/// Until maintenance exists, the probe cleans up what it writes.
async fn delete_expired(app: &App) -> anyhow::Result<()> {
    let (now, begun) = (Utc::now(), Instant::now());
    while begun.elapsed() < RETENTION_TIME {
        let piece = app.store.run(|client| async move { retention::delete_expired(&client, now).await });
        if piece.await.context("delete what has been kept long enough")? < retention::PIECE {
            break;
        }
    }
    Ok(())
}

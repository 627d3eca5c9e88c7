//! `probe`: health checks of all due services.
//!
//! - Trigger: EventBridge schedule `cron(* * * * ? *)`; its tick is the event's scheduled time, floored to the minute.
//!   Services that are checked each half minute are checked at :30 by the same invocation.
//! - Guarantees: a failure is confirmed before it counts; one open incident and one alert per service however long it
//!   fails; nothing is locked while services are checked.
//! - Idempotency key: the check's id, a `UUIDv5` of service, region and slot; claims (leases) make a second run find
//!   nothing due.
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

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use shared::model::{FailureReason, IncidentId, Kind, ServiceState, Verdict};
use shared::store::checks::{self, NewestCheck};
use shared::store::probing::Round;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use app::App;
use round::RoundObserver;

/// A tick that arrives later than this is skipped: the next one is due by then.
const LATE: TimeDelta = TimeDelta::seconds(60);

/// What a round found.
#[derive(Debug, Default)]
pub struct RoundReport {
    /// The switch that stopped it, if any.
    pub stopped_by: Option<String>,
    /// How many services are configured to be probed.
    pub configured: usize,
    /// Each service that was checked.
    pub checked: Vec<Checked>,
}

/// The result of one service's check.
#[derive(Debug)]
pub struct Checked {
    /// The service.
    pub service: String,
    /// Where it runs.
    pub environment: String,
    /// The kind of the check.
    pub kind: Kind,
    /// Whether it did not fail.
    pub passed: bool,
    /// Healthy, degraded or failed.
    pub verdict: Verdict,
    /// The state of the service after the check.
    pub state: ServiceState,
    /// The status of the answer.
    pub http_status: Option<u16>,
    /// The response time.
    pub response_time_ms: u32,
    /// Why it failed or is degraded, for machines.
    pub reason: Option<FailureReason>,
    /// The same for people.
    pub error: Option<String>,
    /// Its open incident.
    pub incident_id: Option<IncidentId>,
    /// Why its alerts are suppressed.
    pub held_by: Option<String>,
}

/// The minute's round: checks what is due at this tick, and 30 seconds later what is due then.
///
/// # Errors
/// When the database can't be used. Nothing was recorded then; a retry is safe (idempotent).
pub async fn handle(app: &App, scheduled: DateTime<Utc>) -> anyhow::Result<RoundReport> {
    let tick = scheduled.duration_trunc(TimeDelta::minutes(1)).unwrap_or(scheduled);
    if Utc::now() - tick > LATE {
        tracing::warn!(%tick, "a late tick was skipped");
        return Ok(RoundReport::default());
    }
    app.ensure_default_services().await?;
    let (sender, half_minutes) = oneshot::channel();
    let observer = RoundObserver {
        progress: &|_, _| {},
        // The receiver is dropped when the second half has failed.
        half_minutes: Box::new(move |some| {
            let _ = sender.send(some);
        }),
    };
    let first = round::run(app, Round::Due(tick), observer);
    let second = second_half(app, tick, half_minutes);
    let (first, second) = tokio::join!(first, second);
    let mut report = first?;
    report.checked.extend(second?.checked);
    Ok(report)
}

/// Checks what is due at :30, if anything is.
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
    round::run(app, Round::Due(half), RoundObserver { progress: &|_, _| {}, half_minutes: Box::new(|_| ()) }).await
}

/// How often an unscheduled round polls for services that another round has claimed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// An unscheduled round: checks every service now. `progress` is called with how many are done, of how many.
///
/// For services that another round has claimed, it waits at most for `timeout`, and reports that round's result if it is
/// new enough; otherwise it checks them itself. Services that are missing in the report are still claimed.
///
/// # Errors
/// When the database can't be used.
pub async fn check_now(
    app: &App,
    timeout: Duration,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> anyhow::Result<RoundReport> {
    app.ensure_default_services().await?;
    let mut report = RoundReport::default();
    let (begun, deadline) = (Utc::now(), Instant::now() + timeout);
    loop {
        let already = report.checked.len();
        let configured = report.configured;
        let ours = |done, of: usize| progress(already + done, configured.max(already + of));
        let observer = RoundObserver { progress: &ours, half_minutes: Box::new(|_| ()) };
        let some = round::run(app, Round::All(begun), observer).await?;
        report.stopped_by = some.stopped_by;
        report.configured = some.configured;
        let none = some.checked.is_empty();
        report.checked.extend(some.checked);
        if report.checked.len() >= report.configured || report.stopped_by.is_some() {
            break;
        }
        if none {
            let others = checked_by_others(app, begun, &report.checked).await?;
            let done = report.checked.len() + others.len();
            progress(done, report.configured);
            if done >= report.configured || Instant::now() >= deadline {
                report.checked.extend(others);
                break;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    report.checked.sort_by(|a, b| (&a.environment, &a.service).cmp(&(&b.environment, &b.service)));
    Ok(report)
}

/// Results of other rounds since then, of services that are not among ours.
async fn checked_by_others(app: &App, since: DateTime<Utc>, ours: &[Checked]) -> anyhow::Result<Vec<Checked>> {
    let ours: HashSet<(&str, &str)> = ours.iter().map(|it| (it.service.as_str(), it.environment.as_str())).collect();
    let newest = app.store.run(|client| async move { checks::list_newest(&client, since).await });
    let newest = newest.await.context("read what another round has found")?;
    let others = newest.into_iter().filter(|it| !ours.contains(&(it.service.as_str(), it.environment.as_str())));
    Ok(others.map(Checked::from).collect())
}

impl From<NewestCheck> for Checked {
    fn from(found: NewestCheck) -> Self {
        Self {
            service: found.service,
            environment: found.environment,
            kind: found.kind,
            passed: found.verdict != Verdict::Failed,
            verdict: found.verdict,
            state: found.state,
            http_status: found.http_status.and_then(|status| u16::try_from(status).ok()),
            response_time_ms: found.latency_ms.and_then(|latency| u32::try_from(latency).ok()).unwrap_or_default(),
            reason: found.reason,
            error: found.error,
            incident_id: found.incident_id,
            held_by: found.held_by,
        }
    }
}

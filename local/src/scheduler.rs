//! The schedules of the local stack: on each wall-clock minute, as in AWS, and the sweeps of each second.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use shared::applications::Directory;
use shared::intake::Intake;
use shared::store::chain;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::ticker::{Now, Ticker};

/// The time budget of a maintenance run: the next one starts after ten minutes.
const MAINTENANCE: Duration = Duration::from_secs(300);

/// Fires until the stack stops. A round that takes long does not delay the next tick.
pub(crate) async fn run(
    probe: probe::App,
    dispatch: dispatch::App,
    maintain: maintain::App,
    intake: Intake,
    stopped: watch::Receiver<bool>,
) {
    let mut ticker = Ticker::starting(Utc::now());
    while !*stopped.borrow() {
        let tick = next(&mut ticker).await;
        let (probe, dispatch, intake) = (probe.clone(), dispatch.clone(), intake.clone());
        // In separate tasks: a round may last into the next minute.
        tokio::spawn(async move {
            if let Err(error) = probe::handle(&probe, tick).await {
                tracing::error!(%tick, error = %chain(error.as_ref()), "the minute's round failed");
            }
        });
        tokio::spawn(async move {
            if let Err(error) = dispatch::handle(&dispatch, tick).await {
                tracing::error!(%tick, error = %chain(error.as_ref()), "the minute's sweep failed");
            }
            intake.refresh_settings().await;
        });
        if maintain::is_due(tick) {
            tokio::spawn(maintain_once(maintain.clone(), tick));
        }
    }
}

async fn maintain_once(maintain: maintain::App, tick: DateTime<Utc>) {
    if let Err(error) = maintain::handle(&maintain, tick, Instant::now() + MAINTENANCE).await {
        tracing::error!(%tick, error = %chain(error.as_ref()), "maintenance failed");
    }
}

/// The urgent work, each second: folds occurrences, publishes due alerts, escalation steps and unpublished events, sends due
/// notifications, and stores the applications' counters. Ends with its task.
pub(crate) async fn sweep_each_second(dispatch: dispatch::App, notify: notify::App, directory: Directory) {
    let app = || dispatch.clone();
    // Concurrently: a channel or a bus that hangs does not block the rest.
    tokio::join!(
        each_second(
            "counts stay beside the incidents",
            app,
            |app, _| async move { dispatch::fold(&app).await.map(drop) }
        ),
        each_second("alerts are announced later", app, |app, now| async move {
            dispatch::announce(&app, now).await.map(drop)
        }),
        each_second(
            "what applications have sent is not counted yet",
            || directory.clone(),
            |directory, now| async move { Ok(directory.write_counts(now).await?) }
        ),
        each_second("escalations wait", app, |app, now| async move { dispatch::escalate(&app, now).await.map(drop) }),
        each_second("events stay in the outbox", app, |app, now| async move {
            dispatch::publish(&app, now).await.map(drop)
        }),
        each_second(
            "groups wait",
            || notify.clone(),
            |app, now| async move { notify::notify_waiting(&app, now).await }
        ),
        each_second(
            "messages wait",
            || notify.clone(),
            |app, now| async move {
                spawn_send(app, now);
                Ok(())
            }
        ),
        each(
            Duration::from_secs(60),
            "what was missed waits",
            || notify.clone(),
            |app, now| async move { notify::notify_missed(&app, now).await }
        ),
    );
}

/// Sends due notifications in a separate task: a channel that hangs does not block the others.
pub(crate) fn spawn_send(app: notify::App, now: DateTime<Utc>) {
    tokio::spawn(async move {
        if let Err(error) = notify::send_waiting(&app, now).await {
            tracing::debug!(error = %chain(error.as_ref()), "messages wait for another second");
        }
    });
}

/// Does this each second; the next second retries a failure.
async fn each_second<App, Done>(otherwise: &str, app: impl Fn() -> App, work: impl Fn(App, DateTime<Utc>) -> Done)
where
    Done: Future<Output = anyhow::Result<()>>,
{
    each(Duration::from_secs(1), otherwise, app, work).await;
}

async fn each<App, Done>(
    period: Duration,
    otherwise: &str,
    app: impl Fn() -> App,
    work: impl Fn(App, DateTime<Utc>) -> Done,
) where
    Done: Future<Output = anyhow::Result<()>>,
{
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = work(app(), Utc::now()).await {
            tracing::debug!(error = %chain(error.as_ref()), "{otherwise} for another {period:?}");
        }
    }
}

/// Waits for the next minute, and returns it.
async fn next(ticker: &mut Ticker) -> DateTime<Utc> {
    loop {
        match ticker.poll(Utc::now()) {
            Now::Fire(tick) => return tick,
            Now::Wait(wait) => tokio::time::sleep(wait).await,
        }
    }
}

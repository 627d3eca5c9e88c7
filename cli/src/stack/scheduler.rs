//! The minute's tick, on the wall-clock minute, as EventBridge fires it in AWS; and each second's count.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::intake::Intake;
use shared::store::chain;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::ticker::{Now, Ticker};

/// Fires until the stack stops. A round that takes long does not delay the next tick.
pub(super) async fn run(probe: probe::App, dispatch: dispatch::App, intake: Intake, stopped: watch::Receiver<bool>) {
    let mut ticker = Ticker::starting(Utc::now());
    while !*stopped.borrow() {
        let tick = next(&mut ticker).await;
        let (probe, dispatch, intake) = (probe.clone(), dispatch.clone(), intake.clone());
        // Each by itself: a round may last into the next minute.
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
    }
}

/// Counts, each second, what was left beside the incidents in a storm, and tells of alerts whose time has come. Ends with
/// its task.
pub(super) async fn sweep_each_second(dispatch: dispatch::App, notify: notify::App) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        if let Err(error) = dispatch::fold(&dispatch).await {
            tracing::debug!(error = %chain(error.as_ref()), "counts stay beside the incidents for another second");
        }
        if let Err(error) = dispatch::announce(&dispatch, Utc::now()).await {
            tracing::debug!(error = %chain(error.as_ref()), "alerts are told in another second");
        }
        if let Err(error) = notify::sweep(&notify, Utc::now()).await {
            tracing::debug!(error = %chain(error.as_ref()), "messages wait for another second");
        }
    }
}

/// Waits for the next minute, and returns it.
async fn next(ticker: &mut Ticker) -> DateTime<Utc> {
    loop {
        match ticker.look(Utc::now()) {
            Now::Fire(tick) => return tick,
            Now::Wait(wait) => tokio::time::sleep(wait).await,
        }
    }
}

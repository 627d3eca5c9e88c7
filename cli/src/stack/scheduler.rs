//! The minute's tick, on the wall-clock minute, as EventBridge fires it in AWS; and each second's count.

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use shared::intake::Intake;
use shared::store::chain;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// The clock is looked at this often while waiting: a laptop that slept must not sleep on.
const LOOK: Duration = Duration::from_secs(5);

/// Fires until the stack stops. A round that takes long does not delay the next tick.
pub(super) async fn run(probe: probe::App, dispatch: dispatch::App, intake: Intake, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let tick = next_minute(Utc::now()).await;
        let (probe, dispatch, intake) = (probe.clone(), dispatch.clone(), intake.clone());
        tokio::spawn(async move {
            if let Err(error) = probe::handle(&probe, tick).await {
                tracing::error!(%tick, error = %chain(error.as_ref()), "the minute's round failed");
            }
            if let Err(error) = dispatch::handle(&dispatch, tick).await {
                tracing::error!(%tick, error = %chain(error.as_ref()), "the minute's sweep failed");
            }
            intake.refresh_settings().await;
        });
    }
}

/// Counts, each second, what was left beside the incidents in a storm. Ends with its task.
pub(super) async fn fold_each_second(dispatch: dispatch::App) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        if let Err(error) = dispatch::fold(&dispatch).await {
            tracing::debug!(error = %chain(error.as_ref()), "counts stay beside the incidents for another second");
        }
    }
}

/// Waits for the wall clock's next minute, and returns it.
async fn next_minute(from: DateTime<Utc>) -> DateTime<Utc> {
    let minute = |instant: DateTime<Utc>| instant.duration_trunc(TimeDelta::minutes(1)).unwrap_or(instant);
    loop {
        let now = Utc::now();
        // Another minute than before, even when the clock was set back.
        if minute(now) != minute(from) {
            return minute(now);
        }
        let left = (minute(now) + TimeDelta::minutes(1) - now).to_std().unwrap_or_default();
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

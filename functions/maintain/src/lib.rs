//! `maintain`: retention. Purges rows by age; no other function does.
//!
//! - Trigger: EventBridge schedule, each ten minutes ([`is_due`]). Without parameters.
//! - Guarantees: a run deletes in batches of [`BATCH`] rows, in turn for each task, and begins none after its deadline; the
//!   next run continues. A failed task does not stop the others. While `agent_kill_switch` is on, nothing is deleted.
//! - Idempotency key: none is needed. Concurrent runs share the work: each skips the rows that the other has locked.
//!
//! Steps: [`keep`] (how long: `system_config`, pure) → `tasks` (what: one file per task) → `shared::store::retention` (SQL).

pub mod app;
pub mod keep;
mod tasks;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, Timelike as _, Utc};
use shared::store::retention::{self, BATCH};
use shared::store::{StoreError, chain, settings};

pub use app::App;
use keep::KeepTimes;
use tasks::Task;

/// The switch that stops a run.
const KILL_SWITCH: &str = "agent_kill_switch";

/// What a run did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Run {
    /// How many rows each task deleted; those that deleted none are left out.
    pub deleted: BTreeMap<&'static str, u64>,
    /// Whether nothing is left to delete.
    pub is_done: bool,
}

/// Whether a run is due at this tick: the schedule in `template.yaml`, for the local stack.
#[must_use]
pub fn is_due(tick: DateTime<Utc>) -> bool {
    // Not at full hours, when other schedules start.
    tick.minute() % 10 == 3
}

/// One run, which begins no batch after `until`.
///
/// # Errors
/// When a task failed, or the database can't be used; the next run retries. The other tasks still run.
pub async fn handle(app: &App, now: DateTime<Utc>, until: Instant) -> anyhow::Result<Run> {
    let switch = app.store.run(|client| async move { settings::find_stopping_switch(&client).await });
    if switch.await.context("read the switches")?.as_deref() == Some(KILL_SWITCH) {
        tracing::info!("{KILL_SWITCH} is on: nothing is deleted");
        return Ok(Run::default());
    }
    let found = app.store.run(|client| async move { retention::find_settings(&client, &keep::keys()).await });
    let keep_times = KeepTimes::read(found.await.context("read how long rows are kept")?);
    let mut run = Run::default();
    let failed = delete_in_turn(app, &keep_times, (now, until), &mut run).await;
    tracing::info!(deleted = ?run.deleted, is_done = run.is_done, "deleted expired rows");
    if let Some((task, error)) = failed.into_iter().next() {
        return Err(error).with_context(|| format!("task {task}"));
    }
    Ok(run)
}

/// Deletes a batch of each task in turn, until nothing is left or the deadline; so no task waits for another's backlog.
async fn delete_in_turn(
    app: &App,
    keep_times: &KeepTimes,
    (now, until): (DateTime<Utc>, Instant),
    run: &mut Run,
) -> Vec<(&'static str, StoreError)> {
    let mut failed = Vec::new();
    let mut waiting: Vec<&Task> = tasks::ALL.iter().collect();
    while !waiting.is_empty() && Instant::now() < until {
        let mut unfinished = Vec::new();
        for task in waiting {
            if Instant::now() >= until {
                unfinished.push(task);
                continue;
            }
            let before = keep_times.before(task.keep, now);
            let batch = app.store.run(|client| async move { task.rows.delete_older_than(&client, before).await });
            match batch.await {
                Ok(0) => {}
                Ok(deleted) => {
                    *run.deleted.entry(task.name).or_default() += deleted;
                    if deleted == BATCH {
                        unfinished.push(task);
                    }
                }
                Err(error) => {
                    tracing::error!(task = task.name, error = %chain(&error), "task {} failed", task.name);
                    failed.push((task.name, error));
                }
            }
        }
        waiting = unfinished;
    }
    run.is_done = waiting.is_empty() && failed.is_empty();
    failed
}

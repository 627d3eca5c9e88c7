//! `notify`: notifies people of what has happened, once.
//!
//! - Trigger: the SQS queue that the bus puts our events into, in batches; and a schedule, each minute ([`sweep`]), for what
//!   waits. The local stack sweeps each second.
//! - Guarantees: what to notify is decided once per event, under the lock of its group, and stored as notifications before any
//!   is delivered; a delivery that fails is retried until the channel accepts it or refuses for good. After a crash between
//!   sending and recording a notification may be delivered twice, with the same dedup key.
//! - Idempotency key: (event, channel, recipient).
//!
//! The pipeline: `receive` (an event to what to evaluate) → `evaluate` (locks the groups, loads a snapshot) → `decide` (a pure
//! function from the snapshot to a plan) → `apply` (writes the plan) → `deliver`. Beside events, `sweep` evaluates what is due,
//! `step` and `heal` notify of escalation steps and heal runs, `summary` of silences that have ended. Pure: `decide`,
//! `pagerduty_state`, `routing`, `muting`, `problem`, `limits`.

pub mod app;
mod apply;
pub mod channel;
mod decide;
mod deliver;
mod evaluate;
mod heal;
mod limits;
mod membership;
mod muting;
pub mod notification;
mod pagerduty_state;
pub mod parameters;
mod plan;
mod problem;
mod receive;
mod refresh;
mod routing;
mod rules;
mod step;
mod summary;
mod sweep;

pub use app::App;
pub use receive::receive;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chrono::{DateTime, Utc};
use shared::store::chain;
use shared::store::notifications::receivers;

use crate::rules::Rules;

// The function has 60 s, a delivery may take ten, and a transaction five.

/// After a batch no delivery begins after this time: a channel that hangs must not delay the next events. The rest is a
/// sweep's.
const AFTER_BATCH: Duration = Duration::from_secs(5);
/// A sweep begins nothing after this time.
const SWEEP: Duration = Duration::from_secs(40);
/// Of a sweep, or of its own, delivering has this time.
const DELIVERING: Duration = Duration::from_secs(20);
/// A batch that failed because the database was unavailable is tried again after this pause.
const PAUSE: Duration = Duration::from_secs(2);

/// Receives a batch of events and delivers what is due. Returns the ids of the messages that have to be received again.
pub async fn handle(app: &App, batch: SqsEvent) -> SqsBatchResponse {
    let response = receive(app, batch).await;
    if let Err(error) = deliver::deliver(app, Utc::now(), AFTER_BATCH).await {
        // They are stored; a sweep delivers them.
        tracing::warn!(error = %chain(&error), "notifications wait for the next sweep");
    }
    response
}

/// As [`handle`], and again for what has failed, until this time has passed: a queue of AWS delivers it again only after
/// minutes, and most failovers are over before that.
pub async fn handle_patiently(app: &App, batch: SqsEvent, patience: Duration) -> SqsBatchResponse {
    let began = Instant::now();
    let mut left = batch.clone();
    loop {
        let response = handle(app, left).await;
        if response.batch_item_failures.is_empty() || began.elapsed() + PAUSE > patience {
            return response;
        }
        let failed: BTreeSet<&str> =
            response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
        left = batch.clone();
        left.records.retain(|message| failed.contains(message.message_id.as_deref().unwrap_or_default()));
        tokio::time::sleep(PAUSE).await;
    }
}

/// A sweep: evaluates what is due ([`notify_waiting`]) or was missed ([`notify_missed`]), and delivers ([`send_waiting`]).
///
/// # Errors
/// When the database can't be used; the next sweep does the rest. What is stored already is delivered in any case.
pub async fn sweep(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    let until = Instant::now() + SWEEP;
    let evaluated = evaluate_by_time(app, now, until).await;
    // Whatever has become of that: what is decided goes out.
    deliver::deliver(app, now, DELIVERING.min(until.saturating_duration_since(Instant::now())))
        .await
        .context("deliver notifications")?;
    evaluated
}

async fn evaluate_by_time(app: &App, now: DateTime<Utc>, until: Instant) -> anyhow::Result<()> {
    let rules = load_rules(app, now).await?;
    let waiting = evaluate_waiting(app, &rules, now, until).await;
    evaluate_missed(app, &rules, now).await?;
    waiting
}

/// Evaluates what has changed some minutes ago without an event. What that notifies is stored, and still to be delivered.
///
/// # Errors
/// When the database can't be used; the next time does the rest.
pub async fn notify_missed(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    evaluate_missed(app, &Rules::load(app, now).await.context("read the rules")?, now).await
}

async fn evaluate_missed(app: &App, rules: &Rules, now: DateTime<Utc>) -> anyhow::Result<()> {
    let missed = sweep::evaluate_missed(app, rules, now, Instant::now() + AFTER_BATCH).await;
    let missed = missed.context("evaluate missed changes")?;
    if missed > 0 {
        tracing::warn!(missed, "evaluated {missed} changes without an event");
    }
    Ok(())
}

/// Evaluates groups that are due and mutes that have ended. What that notifies is stored, and still to be delivered.
///
/// # Errors
/// When the database can't be used; the next time does the rest.
pub async fn notify_waiting(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    let rules = load_rules(app, now).await?;
    evaluate_waiting(app, &rules, now, Instant::now() + SWEEP).await
}

/// Stores which receivers are configured, so that `/ready` warns only if there is no channel. Each sweep does it, too.
///
/// # Errors
/// When the database can't be used.
pub async fn register_receivers(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    load_rules(app, now).await.map(drop)
}

/// Reads the rules and stores which receivers are configured.
async fn load_rules(app: &App, now: DateTime<Utc>) -> anyhow::Result<Rules> {
    let rules = Rules::load(app, now).await.context("read the rules")?;
    let configured = rules.configured.all();
    app.store
        .run(|client| async move { receivers::mark_seen(&client, configured, now).await })
        .await
        .context("store the configured receivers")?;
    Ok(rules)
}

/// In turns, so that ten thousand groups that are due at once do not delay the notifications of the first of them.
async fn evaluate_waiting(app: &App, rules: &Rules, now: DateTime<Utc>, until: Instant) -> anyhow::Result<()> {
    loop {
        let due = sweep::evaluate_due(app, rules, now, until).await.context("evaluate due groups")?;
        let unmuted = sweep::evaluate_unmuted(app, rules, now, until).await.context("evaluate ended mutes")?;
        if due + unmuted > 0 {
            tracing::info!(due, unmuted, "evaluated what was due");
        }
        if (due < sweep::LIMIT && unmuted < sweep::LIMIT) || Instant::now() >= until {
            return Ok(());
        }
        deliver::deliver(app, now, AFTER_BATCH).await.context("deliver notifications")?;
    }
}

/// Delivers what is due. Several calls at a time deliver different notifications; while there are many, this returns at once.
///
/// # Errors
/// When the database can't be used; the next time does the rest.
pub async fn send_waiting(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    let Ok(_sending) = app.sending.try_acquire() else { return Ok(()) };
    deliver::deliver(app, now, DELIVERING).await.context("deliver notifications")
}

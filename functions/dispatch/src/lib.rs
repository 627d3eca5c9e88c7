//! `dispatch`: what has to be caught up with, each minute.
//!
//! - Trigger: EventBridge schedule `cron(* * * * ? *)`; the local stack does each second what can't wait. And an SQS queue
//!   whose messages come 30 s after a service has changed ([`announce_for`]).
//! - Guarantees: within a minute of its time an alert is announced that was kept back for a while, unless it is over by
//!   then; the next step of an escalation is published, unless a person has reacted; an event that the bus did not take is published again;
//!   counts that were left beside incidents in a storm are in them.
//! - Idempotency key: none is needed. What one run has claimed, moved or deleted, another does not find; two at once share
//!   the work. An event that is published twice (after a crash) has the same id.

pub mod app;

use anyhow::Context as _;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chrono::{DateTime, Utc};
use shared::publish::Published;
use shared::store::escalations::Climbed;
use shared::store::{alerts, chain, escalations, incidents};

pub use app::App;

/// A sweep works in pieces; this many at most, so that it ends well before the next one begins.
const FOLDS: usize = 50;
const ESCALATIONS: usize = 20;

/// What a sweep did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// Incidents whose counts were folded.
    pub folded: u64,
    /// Alerts that were announced.
    pub announced: usize,
    /// Steps of escalations that were published.
    pub escalated: usize,
    /// What became of the events that the bus had not taken.
    pub published: Published,
}

/// One sweep.
///
/// # Errors
/// When the database can't be used; the next sweep does the rest.
pub async fn handle(app: &App, now: DateTime<Utc>) -> anyhow::Result<Sweep> {
    // One that fails keeps no other from being done.
    let announced = announce(app, now).await;
    let escalated = escalate(app, now).await;
    // Folding may find that an incident is back, or worse.
    let folded = fold(app).await;
    // As of now: what was refused a moment ago is due at once.
    let published = publish(app, Utc::now().max(now)).await;
    let sweep = Sweep { announced: announced?, escalated: escalated?, published: published?, folded: folded? };
    let Sweep { folded, announced, escalated, published } = sweep;
    tracing::info!(folded, announced, escalated, taken = published.taken, refused = published.refused, "swept");
    Ok(sweep)
}

/// Counts what was left beside the incidents; returns how many incidents changed.
///
/// # Errors
/// When the database can't be used.
pub async fn fold(app: &App) -> anyhow::Result<u64> {
    let mut folded = 0;
    for _ in 0..FOLDS {
        let piece = app.store.run(|client| async move { incidents::fold_occurrences(&client).await });
        let some = piece.await.context("count what was left beside the incidents")?;
        folded += some;
        // What comes meanwhile in a storm is the next second's.
        if some < incidents::FOLD_LIMIT {
            break;
        }
    }
    Ok(folded)
}

/// Announces the alerts whose time has come: these messages, each about a service that has changed, say that there may be
/// one. When it can't be done they come again.
pub async fn announce_for(app: &App, batch: SqsEvent, now: DateTime<Utc>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    if let Err(error) = announce(app, now).await {
        tracing::warn!(error = %chain(error.as_ref()), "alerts are announced later");
        response.set_failures(batch.records.into_iter().map(|message| message.message_id.unwrap_or_default()));
    }
    response
}

/// Announces the alerts whose time has come; returns how many.
///
/// # Errors
/// When the database can't be used.
pub async fn announce(app: &App, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let mut announced = 0;
    loop {
        let piece = app.store.run(|client| async move { alerts::announce_due(&client, now).await });
        let events = piece.await.context("announce alerts")?;
        app.publisher.publish(&events).await;
        announced += events.len();
        if events.len() < alerts::ANNOUNCE_LIMIT {
            return Ok(announced);
        }
    }
}

/// Publishes the steps of escalations that are due; returns how many.
///
/// # Errors
/// When the database can't be used.
pub async fn escalate(app: &App, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let mut escalated = 0;
    for _ in 0..ESCALATIONS {
        let piece = app.store.run(|client| async move { escalations::claim_due(&client, now).await });
        let Climbed { looked, told } = piece.await.context("escalate")?;
        app.publisher.publish(&told).await;
        escalated += told.len();
        // Those that only ended, or wait, are no sign that no other is due.
        if looked < escalations::CLAIM_LIMIT {
            break;
        }
    }
    Ok(escalated)
}

/// Publishes what the bus has not taken so far; returns what came of it.
///
/// # Errors
/// When the database can't be used.
pub async fn publish(app: &App, now: DateTime<Utc>) -> anyhow::Result<Published> {
    app.publisher.sweep(now).await.context("publish what the bus has not taken")
}

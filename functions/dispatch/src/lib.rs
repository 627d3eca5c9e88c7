//! `dispatch`: retries and delayed work, each minute.
//!
//! - Trigger: EventBridge schedule `cron(* * * * ? *)`; the local stack does the urgent part each second. And an SQS queue
//!   whose messages arrive 30 s after a service has changed ([`announce_for`]).
//! - Guarantees, within a minute: a delayed alert is announced when its time comes, unless it is resolved by then; the next
//!   step of an escalation is published, unless it is acknowledged; an event that the bus refused is retried; occurrences
//!   that were counted beside a locked incident are folded into it.
//! - Idempotency key: none is needed. Each row is claimed, moved or deleted once; concurrent runs share the work. An event
//!   that is published twice (after a crash) has the same id.

pub mod app;

use anyhow::Context as _;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chrono::{DateTime, Utc};
use shared::publish::Published;
use shared::store::escalations::ClaimedEscalations;
use shared::store::{alerts, chain, escalations, incidents};

pub use app::App;

/// The most batches of a sweep, so that it ends well before the next one begins.
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
    /// The unpublished events: published now, or refused again.
    pub published: Published,
}

/// One sweep.
///
/// # Errors
/// When the database can't be used; the next sweep does the rest.
pub async fn handle(app: &App, now: DateTime<Utc>) -> anyhow::Result<Sweep> {
    // A failed task does not prevent the others.
    let announced = announce(app, now).await;
    let escalated = escalate(app, now).await;
    // Folding may reopen an incident, or raise its severity: before publishing.
    let folded = fold(app).await;
    // As of now: an event that was refused a moment ago is due at once.
    let published = publish(app, Utc::now().max(now)).await;
    let sweep = Sweep { announced: announced?, escalated: escalated?, published: published?, folded: folded? };
    let Sweep { folded, announced, escalated, published } = sweep;
    tracing::info!(folded, announced, escalated, taken = published.taken, refused = published.refused, "swept");
    Ok(sweep)
}

/// Folds the occurrences that were counted beside locked incidents; returns how many incidents changed.
///
/// # Errors
/// When the database can't be used.
pub async fn fold(app: &App) -> anyhow::Result<u64> {
    let mut folded = 0;
    for _ in 0..FOLDS {
        let piece = app.store.run(|client| async move { incidents::fold_occurrences(&client).await });
        let some = piece.await.context("fold occurrences")?;
        folded += some;
        // Occurrences that arrive meanwhile are left to the next sweep.
        if some < incidents::FOLD_LIMIT {
            break;
        }
    }
    Ok(folded)
}

/// Announces the due alerts: each message, about a service that has changed, says that there may be one. After a failure the
/// queue retries the messages.
pub async fn announce_for(app: &App, batch: SqsEvent, now: DateTime<Utc>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    if let Err(error) = announce(app, now).await {
        tracing::warn!(error = %chain(error.as_ref()), "alerts are announced later");
        response.set_failures(batch.records.into_iter().map(|message| message.message_id.unwrap_or_default()));
    }
    response
}

/// Announces the due alerts; returns how many.
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
        let ClaimedEscalations { due, events } = piece.await.context("escalate")?;
        app.publisher.publish(&events).await;
        escalated += events.len();
        // Due escalations that only ended, or wait, count too: there may be more.
        if due < escalations::CLAIM_LIMIT {
            break;
        }
    }
    Ok(escalated)
}

/// Publishes the unpublished events of the outbox.
///
/// # Errors
/// When the database can't be used.
pub async fn publish(app: &App, now: DateTime<Utc>) -> anyhow::Result<Published> {
    app.publisher.sweep(now).await.context("publish the outbox")
}

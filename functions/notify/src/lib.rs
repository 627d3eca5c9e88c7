//! `notify`: tells people what has happened, once.
//!
//! - Trigger: the SQS queue that the bus puts our events into, in batches; and a schedule, each minute ([`sweep`]), for what
//!   waits. The local stack sweeps each second.
//! - Guarantees: what is to be told is decided once per event, under the lock of its group, and stored as messages before
//!   any is sent; a message that a channel does not take is sent again until it does or refuses for good. After a crash
//!   between sending and recording a message may come twice, with the same dedup key.
//! - Idempotency key: (event, channel, recipient).
//!
//! Steps: `event` (a body to what it is about) → `looking` (where that stands now, in each of its groups) → `telling` (what
//! is told of a group, as messages) → `deliver`. Pure decisions: [`routing`], [`group`], [`muting`], [`ladder`], [`limits`].

pub mod app;
pub mod channel;
mod deliver;
mod due;
mod event;
pub mod group;
mod hearing;
pub mod ladder;
pub mod limits;
mod looking;
pub mod muting;
pub mod notification;
pub mod parameters;
mod problem;
mod refresh;
pub mod routing;
mod rules;
mod telling;

pub use app::App;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chrono::{DateTime, TimeDelta, Utc};
use shared::store::chain;
use shared::store::notifications::{queue, receivers};
use tokio::task::{JoinError, JoinSet};

use crate::event::Heard;
use crate::rules::Rules;

// The function has 60 s, a message may take ten, and a transaction five.

/// What was not heard by then has to come again.
const HEARING: Duration = Duration::from_secs(20);
/// After a batch no message is begun after this time: a channel that hangs must not keep the next events waiting. The rest
/// is a sweep's.
const SENDING: Duration = Duration::from_secs(5);
/// A sweep begins nothing after this time.
const SWEEP: Duration = Duration::from_secs(40);
/// No message is begun after this time by who sends what waits.
const SENDING_ON: Duration = Duration::from_secs(20);
/// A batch that the database was not there for is tried again after this pause.
const PAUSE: Duration = Duration::from_secs(2);
/// So many events of a batch at a time: each takes a connection.
const AT_ONCE: usize = 4;
/// Messages are kept this long, and groups as long after they were told of last.
const KEEP: TimeDelta = TimeDelta::days(90);

/// Tells what these events say, and names the messages of the queue that have to come again: all that could not be acted
/// upon. Only what can't be read is logged, and does not come again.
pub async fn handle(app: &App, batch: SqsEvent) -> SqsBatchResponse {
    let response = receive(app, batch).await;
    if let Err(error) = deliver::deliver(app, Utc::now(), SENDING).await {
        // They are stored; a sweep sends them.
        tracing::warn!(error = %chain(&error), "messages wait for the next sweep");
    }
    response
}

/// As [`handle`], and again for what has failed, for as long as no more than this time has passed: a queue of AWS brings it
/// back only after minutes, and most failovers are over before that.
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

/// As [`handle`], but for sending: somebody else does that ([`send_waiting`]).
pub async fn receive(app: &App, batch: SqsEvent) -> SqsBatchResponse {
    let now = Utc::now();
    let mut heard = Vec::with_capacity(batch.records.len());
    for message in batch.records {
        let id = message.message_id.unwrap_or_default();
        match event::parse(message.body.as_deref().unwrap_or_default()) {
            Ok(Heard { what: event::What::Nothing, .. }) => {
                tracing::debug!(message.id = id, "message {id} is about nothing that people are told of");
            }
            Ok(event) => heard.push((id, event)),
            Err(error) => {
                tracing::error!(message.id = id, error = %chain(&error), "refused message {id}: it can't be read");
            }
        }
    }
    let mut response = SqsBatchResponse::default();
    if heard.is_empty() {
        return response;
    }
    let failed = match Rules::load(app, now).await {
        Ok(rules) => hear_all(app, Arc::new(rules), heard, now).await,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "{} events have to come again", heard.len());
            heard.into_iter().map(|(id, _)| id).collect()
        }
    };
    response.set_failures(failed);
    response
}

/// Acts on these, several at a time; returns those that have to come again, among them all that were not reached in time.
async fn hear_all(app: &App, rules: Arc<Rules>, heard: Vec<(String, Heard)>, now: DateTime<Utc>) -> Vec<String> {
    let mut failed: BTreeSet<String> = heard.iter().map(|(id, _)| id.clone()).collect();
    let mut hearing: JoinSet<Option<String>> = JoinSet::new();
    // Whoever does not come back with its id has failed, for whatever reason.
    let settle = |failed: &mut BTreeSet<String>, joined: Option<Result<Option<String>, JoinError>>| {
        if let Some(Ok(Some(id))) = joined {
            failed.remove(&id);
        }
    };
    let until = tokio::time::Instant::now() + HEARING;
    for (id, event) in heard {
        if hearing.len() >= AT_ONCE {
            match tokio::time::timeout_at(until, hearing.join_next()).await {
                Ok(joined) => settle(&mut failed, joined),
                Err(_) => break,
            }
        }
        let (app, rules) = (app.clone(), Arc::clone(&rules));
        hearing.spawn(async move {
            let heard = hearing::hear(&app, &rules, &event, now).await;
            heard.map_err(|error| hearing::log_failure(event.id, &error)).ok().map(|()| id)
        });
    }
    while !hearing.is_empty() {
        match tokio::time::timeout_at(until, hearing.join_next()).await {
            Ok(joined) => settle(&mut failed, joined),
            // What is still at it ends with its task.
            Err(_) => break,
        }
    }
    failed.into_iter().collect()
}

/// A sweep: tells what has waited for its time ([`notify_waiting`]), sends ([`send_waiting`]), looks for what
/// was missed ([`notify_missed`]), deletes what is old ([`delete_old`]).
///
/// # Errors
/// When the database can't be used; the next sweep does the rest. What is stored already is sent in any case.
pub async fn sweep(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    let until = Instant::now() + SWEEP;
    let told = tell_until(app, now, until).await;
    let missed = notify_missed(app, now).await;
    // Whatever has become of that: what is decided goes out.
    deliver::deliver(app, now, SENDING_ON.min(until.saturating_duration_since(Instant::now())))
        .await
        .context("send messages")?;
    told?;
    missed?;
    delete_old(app, now).await
}

/// Tells of what has changed some minutes ago and was not heard of, as messages that are still to be sent.
///
/// # Errors
/// When the database can't be used; the next time does the rest.
pub async fn notify_missed(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    let rules = Rules::load(app, now).await.context("read who is told")?;
    let missed = due::notify_missed(app, &rules, now, Instant::now() + SENDING).await;
    let missed = missed.context("tell of what was missed")?;
    if missed > 0 {
        tracing::warn!(missed, "looked at what had changed without being heard of");
    }
    Ok(())
}

/// Tells of groups that waited and of what was muted, as messages that are still to be sent.
///
/// # Errors
/// When the database can't be used; the next time does the rest.
pub async fn notify_waiting(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    tell_until(app, now, Instant::now() + SWEEP).await
}

/// Says who is configured, so that `/ready` warns of no channel only where there is none. Each sweep does it, too.
///
/// # Errors
/// When the database can't be used.
pub async fn register_receivers(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    note_configured(app, now).await.map(drop)
}

async fn note_configured(app: &App, now: DateTime<Utc>) -> anyhow::Result<Rules> {
    let rules = Rules::load(app, now).await.context("read who is told")?;
    let configured = rules.configured.all();
    app.store
        .run(|client| async move { receivers::mark_seen(&client, configured, now).await })
        .await
        .context("note who is configured")?;
    Ok(rules)
}

/// In turns, so that ten thousand groups that are due at once do not keep back what the first of them have to say.
async fn tell_until(app: &App, now: DateTime<Utc>, until: Instant) -> anyhow::Result<()> {
    let rules = note_configured(app, now).await?;
    loop {
        let due = due::tell_due(app, &rules, now, until).await.context("tell of groups that waited")?;
        let unmuted = due::tell_unmuted(app, &rules, now, until).await.context("tell of what was muted")?;
        if due + unmuted > 0 {
            tracing::info!(due, unmuted, "told what had waited");
        }
        if (due < due::LIMIT && unmuted < due::LIMIT) || Instant::now() >= until {
            return Ok(());
        }
        deliver::deliver(app, now, SENDING).await.context("send messages")?;
    }
}

/// Sends what is due. Several at a time send different messages; where many are at it already, this returns at once.
///
/// # Errors
/// When the database can't be used; the next time does the rest.
pub async fn send_waiting(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    let Ok(_sending) = app.sending.try_acquire() else { return Ok(()) };
    deliver::deliver(app, now, SENDING_ON).await.context("send messages")
}

/// Deletes messages and groups that are over for long.
///
/// # Errors
/// When the database can't be used; the next time does the rest.
pub async fn delete_old(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    let deleted = app.store.run(|client| async move { queue::delete_older_than(&client, KEEP, now).await });
    let deleted = deleted.await.context("delete old messages")?;
    if deleted > 0 {
        tracing::info!(deleted, "deleted messages and groups that are over for long");
    }
    Ok(())
}

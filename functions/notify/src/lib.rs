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
pub mod notice;
mod problem;
mod refresh;
pub mod routing;
mod rules;
mod telling;

pub use app::App;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use chrono::{DateTime, TimeDelta, Utc};
use shared::store::chain;
use shared::store::notifications::{messages, receivers};
use tokio::task::{JoinError, JoinSet};

use crate::event::Heard;
use crate::rules::Rules;

/// No message is begun after this time: the function has 60 s, and a message may take ten.
const SENDING: Duration = Duration::from_secs(20);
/// So many events of a batch at a time: each takes a connection.
const AT_ONCE: usize = 4;
/// Messages are kept this long, and groups as long after they were told of last.
const KEEP: TimeDelta = TimeDelta::days(90);

/// Tells what these events say, and names the messages of the queue that have to come again: all those that the database was
/// not there for. What can't be read is logged, and does not come again.
pub async fn handle(app: &App, batch: SqsEvent) -> SqsBatchResponse {
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
    let failed = match Rules::load(app, now).await {
        Ok(_) if heard.is_empty() => Vec::new(),
        Ok(rules) => hear_all(app, Arc::new(rules), heard, now).await,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "{} events have to come again", heard.len());
            heard.into_iter().map(|(id, _)| id).collect()
        }
    };
    if let Err(error) = deliver::deliver(app, now, SENDING).await {
        // They are stored; a sweep sends them.
        tracing::warn!(error = %chain(&error), "messages wait for the next sweep");
    }
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.into_iter().map(failure).collect();
    response
}

/// Acts on these, several at a time; returns those that have to come again.
async fn hear_all(app: &App, rules: Arc<Rules>, heard: Vec<(String, Heard)>, now: DateTime<Utc>) -> Vec<String> {
    let mut failed: BTreeSet<String> = heard.iter().map(|(id, _)| id.clone()).collect();
    let mut hearing: JoinSet<Option<String>> = JoinSet::new();
    // Whoever does not come back with its id has failed, for whatever reason.
    let settle = |failed: &mut BTreeSet<String>, joined: Option<Result<Option<String>, JoinError>>| {
        if let Some(Ok(Some(id))) = joined {
            failed.remove(&id);
        }
    };
    for (id, event) in heard {
        if hearing.len() >= AT_ONCE {
            settle(&mut failed, hearing.join_next().await);
        }
        let (app, rules) = (app.clone(), Arc::clone(&rules));
        hearing.spawn(async move {
            let heard = hearing::hear(&app, &rules, &event, now).await;
            let again = heard.err().is_some_and(|error| hearing::has_to_come_again(event.id, &error));
            (!again).then_some(id)
        });
    }
    while !hearing.is_empty() {
        settle(&mut failed, hearing.join_next().await);
    }
    failed.into_iter().collect()
}

fn failure(id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = id;
    failure
}

/// Tells what has waited for its time.
///
/// # Errors
/// When the database can't be used; the next sweep does the rest. What is stored already is sent in any case.
pub async fn sweep(app: &App, now: DateTime<Utc>) -> anyhow::Result<()> {
    let told = tell_waiting(app, now).await;
    deliver::deliver(app, now, SENDING).await.context("send messages")?;
    let deleted = app.store.run(|client| async move { messages::delete_older_than(&client, KEEP, now).await });
    let deleted = deleted.await.context("delete old messages")?;
    let told = told?;
    if told > 0 || deleted > 0 {
        tracing::info!(told, deleted, "told what had waited");
    }
    Ok(())
}

/// Decides what is told by time; returns of how much.
async fn tell_waiting(app: &App, now: DateTime<Utc>) -> anyhow::Result<usize> {
    let rules = Rules::load(app, now).await.context("read who is told")?;
    let configured = rules.configured.all();
    app.store
        .run(|client| async move { receivers::mark_seen(&client, configured, now).await })
        .await
        .context("note who is configured")?;
    let due = due::tell_due(app, &rules, now).await.context("tell of groups that waited")?;
    let unmuted = due::tell_unmuted(app, &rules, now).await.context("tell of what was muted")?;
    Ok(due + unmuted)
}

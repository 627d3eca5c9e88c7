//! Messages on their way: claimed, sent, and what became of each written down at once.
//!
//! In one run each receiver gets its messages one after the other, several receivers at the same time. Of several runs at a
//! time each has messages of its own; those of one group go to a receiver in their order whoever sends them. A claim that ended without a
//! record (the sender was killed) is anybody's after a minute: then a message may come twice, with the same id and dedup key.

mod claim;
mod retry;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::Receiver;
use shared::store::notifications::outcomes::{self, Attempt, Refusal};
use shared::store::notifications::queue::QueuedNotification;
use shared::store::notifications::receivers;
use shared::store::{StoreError, chain};
use tokio::task::JoinSet;
use uuid::Uuid;

use self::claim::{Claimed, claim};
use self::retry::{Tries, consequence};
use crate::App;
use crate::channel::{Delivery, SendError, Sent};
use crate::looking::within_deadline;

/// So many receivers at a time.
const AT_ONCE: usize = 8;
/// A channel that has not answered by then has not taken it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time of a run: it goes on from the instant that the caller named.
#[derive(Debug, Clone, Copy)]
struct Run {
    began: Instant,
    now: DateTime<Utc>,
    until: Instant,
    by: Uuid,
}

impl Run {
    fn now(&self) -> DateTime<Utc> {
        self.now + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default()
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// Sends what is due, for as long as there is something, and begins nothing after the budget.
///
/// # Errors
/// When the database can't be used; what was sent and not recorded may come again.
pub(crate) async fn deliver(app: &App, now: DateTime<Utc>, budget: Duration) -> Result<(), StoreError> {
    let began = Instant::now();
    let run = Run { began, now, until: began + budget, by: Uuid::new_v4() };
    let mut asked = BTreeSet::new();
    loop {
        let at = run.now();
        let due = app.store.run(|client| async move { receivers::list_due(&client, at).await }).await?;
        // Each once in a run: who has nothing more now has the next run.
        let due: Vec<Receiver> = due.into_iter().filter(|receiver| asked.insert(receiver.clone())).collect();
        if due.is_empty() || run.is_over() {
            return Ok(());
        }
        drain_all(app, due, run).await?;
    }
}

/// Sends to each of these. What goes wrong at one ends no other's: whoever is stopped between sending and recording sends
/// again.
async fn drain_all(app: &App, receivers: Vec<Receiver>, run: Run) -> Result<(), StoreError> {
    let (mut sending, mut first) = (JoinSet::new(), Ok(()));
    for receiver in receivers {
        if sending.len() >= AT_ONCE {
            first = first.and(ended(sending.join_next().await));
        }
        let app = app.clone();
        sending.spawn(async move { drain(&app, &receiver, run).await });
    }
    while let Some(joined) = sending.join_next().await {
        first = first.and(ended(Some(joined)));
    }
    first
}

fn ended(joined: Option<Result<Result<(), StoreError>, tokio::task::JoinError>>) -> Result<(), StoreError> {
    match joined {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(StoreError::internal(error)),
    }
}

/// Sends to one receiver what it may get.
async fn drain(app: &App, receiver: &Receiver, run: Run) -> Result<(), StoreError> {
    while !run.is_over() {
        // As of each attempt: a claim holds for a minute from then on.
        let Claimed { messages, goes_on, failures } =
            within_deadline(&app.store, || claim(app, receiver, run.by, run.now())).await?;
        let fares_well = send_all(app, receiver, messages, failures, run).await?;
        if !goes_on || !fares_well {
            break;
        }
    }
    Ok(())
}

/// Sends these in their order; false: the receiver wants to be left alone, or there is no time left.
async fn send_all(
    app: &App,
    receiver: &Receiver,
    messages: Vec<QueuedNotification>,
    mut failures: i32,
    run: Run,
) -> Result<bool, StoreError> {
    // The claim is good for a minute, and a message takes ten seconds at most.
    let until = (Instant::now() + Duration::from_secs(45)).min(run.until);
    let mut messages = messages.into_iter();
    while let Some(message) = messages.next() {
        let is_paused = send(app, receiver, message, &mut failures, run).await?;
        if is_paused || Instant::now() >= until {
            let rest: Vec<Uuid> = messages.map(|message| message.id).collect();
            if !rest.is_empty() {
                app.store
                    .run(|client| {
                        let rest = rest.clone();
                        async move { outcomes::release(&client, &rest, run.by).await }
                    })
                    .await?;
            }
            return Ok(!is_paused && !run.is_over());
        }
    }
    Ok(true)
}

/// Sends one, and writes down what became of it; whether the receiver wants to be left alone.
async fn send(
    app: &App,
    receiver: &Receiver,
    message: QueuedNotification,
    failures: &mut i32,
    run: Run,
) -> Result<bool, StoreError> {
    let (id, attempts, created_at) = (message.id, message.attempts + 1, message.created_at);
    let result = match delivery(receiver, message) {
        Ok(delivery) => app.channels.send(&delivery, PATIENCE).await,
        Err(error) => Err(error),
    };
    let at = run.now();
    let attempt = Attempt { id, receiver, claimed_by: run.by, at };
    match result {
        Ok(Sent { status, remote }) => {
            *failures = 0;
            let remote = remote.as_ref();
            app.store.run(|client| async move { outcomes::mark_sent(&client, &attempt, status, remote).await }).await?;
            Ok(false)
        }
        Err(error) => {
            let tries = Tries { attempts, failures: *failures, created_at, now: at };
            let consequence = consequence(&error, tries, random());
            *failures += i32::from(consequence.is_receivers);
            log(id, receiver, &error, consequence.next_attempt_at.is_none());
            let (text, status) = (error.to_string(), status(&error));
            let refusal = Refusal {
                error: &text,
                status,
                next_attempt_at: consequence.next_attempt_at,
                paused_until: consequence.paused_until,
                is_receivers: consequence.is_receivers,
            };
            let refusal = &refusal;
            app.store.run(|client| async move { outcomes::mark_refused(&client, &attempt, refusal).await }).await?;
            Ok(consequence.paused_until.is_some())
        }
    }
}

fn delivery(receiver: &Receiver, message: QueuedNotification) -> Result<Delivery, SendError> {
    let notification = serde_json::from_value(message.content);
    let notification = notification.map_err(|error| {
        tracing::error!(notification.id = %message.id, error = %chain(&error), "a stored message can't be read");
        SendError::Refused { what: "the stored message can't be read".to_owned(), status: None }
    })?;
    Ok(Delivery {
        id: message.id,
        receiver: receiver.clone(),
        dedup_key: message.dedup_key,
        notification,
        earlier: message.earlier,
    })
}

fn status(error: &SendError) -> Option<u16> {
    match error {
        SendError::Later { status, .. } | SendError::Refused { status, .. } => *status,
        SendError::NotConfigured(_) => None,
    }
}

fn log(id: Uuid, receiver: &Receiver, error: &SendError, is_final: bool) {
    let channel = receiver.channel();
    if is_final {
        tracing::error!(notification.id = %id, %channel, %error, "message {id} failed for good over {channel}");
    } else {
        tracing::warn!(notification.id = %id, %channel, %error, "message {id} was not taken by {channel} and is sent again");
    }
}

/// Between 0 and 1; good enough for spreading.
fn random() -> f64 {
    f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0
}

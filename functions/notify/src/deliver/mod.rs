//! Delivers notifications: claims them, sends them, and records the result of each at once.
//!
//! In one run each receiver gets its notifications one after the other, several receivers at the same time. Runs at the same
//! time claim different notifications; those of one group reach a receiver in order. A claim that ends without a record (the
//! process was killed) expires after a minute: then a notification may be delivered twice, with the same id and dedup key.

mod claim;
mod retry;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::Receiver;
use shared::store::notifications::outcomes::{self, Attempt, Refusal};
use shared::store::notifications::queue::QueuedNotification;
use shared::store::notifications::receivers::{self, Health};
use shared::store::{StoreError, chain};
use tokio::task::JoinSet;
use uuid::Uuid;

use self::claim::{Claimed, claim};
use self::retry::{Consequence, Tries, consequence};
use crate::App;
use crate::channel::{Delivery, SendError, Sent};

/// So many receivers at a time.
const AT_ONCE: usize = 8;
/// A delivery that has no answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A run, with a clock that starts at the instant of the caller.
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

/// Delivers what is due, for as long as there is something, and begins nothing after the budget.
///
/// # Errors
/// When the database can't be used; what was sent and not recorded may be sent again.
pub(crate) async fn deliver(app: &App, now: DateTime<Utc>, budget: Duration) -> Result<(), StoreError> {
    let began = Instant::now();
    let run = Run { began, now, until: began + budget, by: Uuid::new_v4() };
    let mut seen = BTreeSet::new();
    loop {
        let at = run.now();
        let due = app.store.run(|client| async move { receivers::list_due(&client, at).await }).await?;
        // Each once in a run.
        let due: Vec<Receiver> = due.into_iter().filter(|receiver| seen.insert(receiver.clone())).collect();
        if due.is_empty() || run.is_over() {
            return Ok(());
        }
        drain_all(app, due, run).await?;
    }
}

/// Delivers to each of these. An error at one stops no other: one that is stopped between sending and recording sends again.
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

/// Delivers to one receiver what it may get.
async fn drain(app: &App, receiver: &Receiver, run: Run) -> Result<(), StoreError> {
    while !run.is_over() {
        // As of each attempt: a claim holds for a minute from then on.
        let Claimed { notifications, goes_on, failures } = claim(app, receiver, run.by, run.now()).await?;
        let may_go_on = send_all(app, receiver, notifications, failures, run).await?;
        if !goes_on || !may_go_on {
            break;
        }
    }
    Ok(())
}

/// Sends these in their order; false: the receiver is paused, or there is no time left.
async fn send_all(
    app: &App,
    receiver: &Receiver,
    notifications: Vec<QueuedNotification>,
    mut failures: i32,
    run: Run,
) -> Result<bool, StoreError> {
    // The claim lasts a minute, and a delivery ten seconds at most.
    let until = (Instant::now() + Duration::from_secs(45)).min(run.until);
    let mut notifications = notifications.into_iter();
    while let Some(notification) = notifications.next() {
        let is_paused = send(app, receiver, notification, &mut failures, run).await?;
        if is_paused || Instant::now() >= until {
            let rest: Vec<Uuid> = notifications.map(|it| it.id).collect();
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

/// Sends one, and records the result; whether the receiver is paused.
async fn send(
    app: &App,
    receiver: &Receiver,
    queued: QueuedNotification,
    failures: &mut i32,
    run: Run,
) -> Result<bool, StoreError> {
    let (id, attempts, created_at) = (queued.id, queued.attempts + 1, queued.created_at);
    let result = match delivery(receiver, queued) {
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
            let Consequence { next_attempt_at, health } = consequence(&error, tries, random());
            *failures += i32::from(health != Health::Unaffected);
            log(id, receiver, &error, next_attempt_at.is_none());
            let (text, status) = (error.to_string(), status(&error));
            let refusal = &Refusal { error: &text, status, next_attempt_at, health };
            app.store.run(|client| async move { outcomes::mark_refused(&client, &attempt, refusal).await }).await?;
            Ok(matches!(health, Health::Paused { .. }))
        }
    }
}

fn delivery(receiver: &Receiver, queued: QueuedNotification) -> Result<Delivery, SendError> {
    let QueuedNotification { id, dedup_key, content, earlier, .. } = queued;
    let notification = serde_json::from_value(content).map_err(|error| {
        tracing::error!(notification.id = %id, error = %chain(&error), "notification {id} can't be read");
        SendError::Refused { what: "the stored notification can't be read".to_owned(), status: None }
    })?;
    Ok(Delivery { id, receiver: receiver.clone(), dedup_key, notification, earlier })
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
        tracing::error!(notification.id = %id, %channel, %error, "notification {id} failed for good over {channel}");
    } else {
        tracing::warn!(notification.id = %id, %channel, %error, "notification {id} failed over {channel} and is sent again");
    }
}

/// Between 0 and 1; good enough for spreading.
fn random() -> f64 {
    f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0
}

//! `replay`: stores what was deferred while the database was unavailable: reports, steps, check-ins, heartbeats.
//!
//! - Trigger: the SQS queue that the bus puts `ReportDeferred` into, in batches.
//! - Guarantees: a message leaves the queue only when all of its records are stored. While the database is unavailable they are
//!   retried each two seconds until the invocation ends; then the queue retries all messages. A message that can never be stored
//!   fails alone, and SQS moves it to the dead letters after its last retry.
//! - Idempotency key: each record's own (a delivery key; of check-ins and heartbeats the later one wins): a message that is
//!   delivered twice counts once.
//! - Order: by the records' times of arrival, within a batch. A step whose incident is not known yet is retried for 23 hours
//!   ([`App::WAIT_FOR_REPORT`]), and is then kept without an incident.
//!
//! Steps: [`app`] → [`message`] (a body to records, pure) → `shared::defer::settle` (the write) → the failures.

pub mod app;
pub mod message;

use std::time::{Duration, Instant, SystemTime};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use chrono::{DateTime, Utc};
use shared::defer::Deferred;
use shared::defer::settle::{Settled, settle, settle_again};
use shared::store::chain;

pub use app::App;

/// No statement is begun in the last part of an invocation: one may take 10 s (5 s and one retry), and a batch ends.
const RESERVE: Duration = Duration::from_secs(20);

/// The pause between retries within an invocation. Afterwards the queue retries each six minutes.
const PAUSE: Duration = Duration::from_secs(2);

/// The messages of a batch that were not stored, by their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Failed {
    /// To be retried: the database did not store all of their records.
    pub waiting: Vec<String>,
    /// They can never be stored.
    pub refused: Vec<String>,
}

/// Stores the records of a batch by this deadline, and names the failed messages, which SQS retries: also those that can
/// never be stored, which it moves to the dead letters in the end.
pub async fn handle(app: &App, batch: SqsEvent, deadline: SystemTime) -> SqsBatchResponse {
    let Failed { waiting, refused } = replay(app, batch, deadline).await;
    let mut response = SqsBatchResponse::default();
    response.set_failures(waiting.into_iter().chain(refused));
    response
}

/// As [`handle`], for a queue that treats the two differently.
pub async fn replay(app: &App, batch: SqsEvent, deadline: SystemTime) -> Failed {
    let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
    let until = Instant::now() + left.saturating_sub(RESERVE);
    let mut failed = Failed::default();
    let mut records: Vec<Deferred> = Vec::new();
    let mut messages = Vec::with_capacity(batch.records.len());
    for message in batch.records {
        match message::records(message.body.as_deref().unwrap_or_default()) {
            Ok(some) => {
                messages.push((id_of(message), some.len()));
                records.extend(some);
            }
            Err(error) => {
                let id = id_of(message);
                tracing::error!(message.id = id, error = %chain(&error), "refused message {id}: it can't be read");
                failed.refused.push(id);
            }
        }
    }
    let settled = settle_with_retries(app, &records, until).await;
    let now = Utc::now();
    let mut settled = records.iter().zip(settled).map(|(record, settled)| app.in_time(record, settled, now));
    let mut waiting = 0_usize;
    for (id, count) in messages {
        let (later, refused) = count_unsettled(&id, settled.by_ref().take(count));
        waiting += later;
        // A message with a waiting record is retried; it is refused once its other records are stored.
        match (later, refused) {
            (0, 0) => {}
            (0, _) => failed.refused.push(id),
            _ => failed.waiting.push(id),
        }
    }
    let (taken, count) = (records.len(), failed.waiting.len() + failed.refused.len());
    tracing::info!(
        taken,
        waiting,
        failed = count,
        "received {taken} deferred records, {waiting} of them still wait; {count} messages failed"
    );
    failed
}

/// Stores the records, with retries while the database is unavailable: most outages are shorter than an invocation.
async fn settle_with_retries(app: &App, records: &[Deferred], until: Instant) -> Vec<Settled> {
    let mut settled = settle(&app.intake, records, until, app.wait_for_report).await;
    while settled.iter().any(Settled::is_later) && Instant::now() + PAUSE < until {
        tokio::time::sleep(PAUSE).await;
        settle_again(&app.intake, records, &mut settled, until, app.wait_for_report).await;
    }
    settled
}

impl App {
    /// The result for a record: a step whose report may still arrive is retried.
    fn in_time(&self, record: &Deferred, settled: Settled, now: DateTime<Utc>) -> Settled {
        match settled {
            Settled::Unknown if now - record.received_at() < self.wait_for_report => Settled::Later(None),
            Settled::Unknown => Settled::Stored,
            settled => settled,
        }
    }
}

/// How many of a message's records are retried, and how many can never be stored. Logs why.
fn count_unsettled(id: &str, settled: impl Iterator<Item = Settled>) -> (usize, usize) {
    let (mut later, mut refused) = (0, 0);
    for settled in settled {
        match settled {
            Settled::Stored | Settled::Unknown => {}
            Settled::Later(reason) => {
                later += 1;
                if let (1, Some(error)) = (later, reason) {
                    tracing::warn!(message.id = id, error = %chain(&error), "message {id} is retried later");
                }
            }
            Settled::Refused(error) => {
                refused += 1;
                tracing::error!(message.id = id, error = %chain(&error), "refused message {id}: it can't be stored");
            }
        }
    }
    (later, refused)
}

fn id_of(message: SqsMessage) -> String {
    message.message_id.unwrap_or_default()
}

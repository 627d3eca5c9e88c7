//! `replay`: stores what was deferred while the database was unavailable: reports, steps, check-ins, heartbeats.
//!
//! - Trigger: the SQS queue that the bus puts `ReportDeferred` into, in batches.
//! - Guarantees: a message leaves the queue only when all of its records are stored. While the database is unavailable they are
//!   tried each two seconds until the invocation ends, and then all messages come again; one that can never be stored fails alone, and SQS puts it aside when it has come too often.
//! - Idempotency key: each record's own (a delivery key; of signs of life the later one holds): a message that comes
//!   twice counts once.
//! - Order: that of the times at which records came, within a batch. A step that comes before the report of its incident
//!   waits for it for 23 hours ([`App::WAIT_FOR_REPORT`]), and is then kept without an incident.
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

/// How long what has to wait is left alone within an invocation. Outside it the queue delivers it again after six minutes.
const PAUSE: Duration = Duration::from_secs(2);

/// The messages of a batch that were not stored, by their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Failed {
    /// They have to come again: the database did not take all of their records.
    pub waiting: Vec<String>,
    /// They can never be stored.
    pub refused: Vec<String>,
}

/// Stores the records of a batch by this deadline, and names the messages that SQS delivers again: those that wait, and
/// those that can never be stored, which it sets aside in the end.
pub async fn handle(app: &App, batch: SqsEvent, deadline: SystemTime) -> SqsBatchResponse {
    let Failed { waiting, refused } = replay(app, batch, deadline).await;
    let mut response = SqsBatchResponse::default();
    response.set_failures(waiting.into_iter().chain(refused));
    response
}

/// As [`handle`], for a queue that separates the two.
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
    let settled = settle_patiently(app, &records, until).await;
    let now = Utc::now();
    let mut settled = records.iter().zip(settled).map(|(record, settled)| app.in_time(record, settled, now));
    let mut waiting = 0_usize;
    for (id, count) in messages {
        let (later, refused) = look_at(&id, settled.by_ref().take(count));
        waiting += later;
        // One that waits comes again in any case, and is refused when all others of its records are stored.
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
        "{taken} deferred records came, {waiting} wait on; {count} messages failed"
    );
    failed
}

/// Stores the records, again and again while the database is unavailable: most outages are shorter than an invocation.
async fn settle_patiently(app: &App, records: &[Deferred], until: Instant) -> Vec<Settled> {
    let mut settled = settle(&app.intake, records, until, app.wait_for_report).await;
    while settled.iter().any(Settled::is_later) && Instant::now() + PAUSE < until {
        tokio::time::sleep(PAUSE).await;
        settle_again(&app.intake, records, &mut settled, until, app.wait_for_report).await;
    }
    settled
}

impl App {
    /// What became of a record, after a step that may have come before its report was made to wait.
    fn in_time(&self, record: &Deferred, settled: Settled, now: DateTime<Utc>) -> Settled {
        match settled {
            Settled::Unknown if now - record.received_at() < self.wait_for_report => Settled::Later(None),
            Settled::Unknown => Settled::Stored,
            settled => settled,
        }
    }
}

/// How many of a message's records have to wait, and how many will never be stored. Logs why.
fn look_at(id: &str, settled: impl Iterator<Item = Settled>) -> (usize, usize) {
    let (mut later, mut refused) = (0, 0);
    for settled in settled {
        match settled {
            Settled::Stored | Settled::Unknown => {}
            Settled::Later(reason) => {
                later += 1;
                if let (1, Some(error)) = (later, reason) {
                    tracing::warn!(message.id = id, error = %chain(&error), "message {id} has to come again");
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

//! `replay`: stores the reports that were deferred while the database was away.
//!
//! - Trigger: the SQS queue that the bus puts `ReportDeferred` into, in batches.
//! - Guarantees: a message leaves the queue only when all of its reports are stored. While the database is away all
//!   messages come again; one that can never be stored fails alone, and SQS puts it aside when it has come too often.
//! - Idempotency key: each report's own delivery key: a message that comes twice counts once. Order does not matter.
//!
//! Steps: [`app`] → [`message`] (a body to reports, pure) → `shared::defer::settle` (the write) → the failures.

pub mod app;
pub mod message;

use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use shared::defer::settle::{Settled, settle};
use shared::model::Report;
use shared::store::chain;

pub use app::App;

/// No statement is begun after this time: the function has 60 s, and a statement may take 10 s (5 s and one retry).
const PATIENCE: Duration = Duration::from_secs(40);

/// Stores the reports of a batch, and names the messages that have to come again.
pub async fn handle(app: &App, batch: SqsEvent) -> SqsBatchResponse {
    let until = Instant::now() + PATIENCE;
    let mut response = SqsBatchResponse::default();
    let mut reports: Vec<Report> = Vec::new();
    let mut messages = Vec::with_capacity(batch.records.len());
    for message in batch.records {
        match message::reports(message.body.as_deref().unwrap_or_default()) {
            Ok(some) => {
                messages.push((id_of(message), some.len()));
                reports.extend(some);
            }
            Err(error) => {
                let id = id_of(message);
                tracing::error!(message.id = id, error = %chain(&error), "refused message {id}: it can't be read");
                response.add_failure(id);
            }
        }
    }
    let mut settled = settle(&app.intake, &reports, until).await.into_iter();
    let mut waiting = 0_usize;
    for (id, count) in messages {
        let (later, refused) = look_at(&id, settled.by_ref().take(count));
        waiting += later;
        if later + refused > 0 {
            response.add_failure(id);
        }
    }
    let (taken, failed) = (reports.len(), response.batch_item_failures.len());
    tracing::info!(
        taken,
        waiting,
        failed,
        "{taken} deferred reports came, {waiting} wait on; {failed} messages failed"
    );
    response
}

/// How many of a message's reports have to wait, and how many will never be stored. Logs why.
fn look_at(id: &str, settled: impl Iterator<Item = Settled>) -> (usize, usize) {
    let (mut later, mut refused) = (0, 0);
    for settled in settled {
        match settled {
            Settled::Stored => {}
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

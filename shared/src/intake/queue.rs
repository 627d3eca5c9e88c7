//! Group commit: reports that arrive while a commit waits for the disk are written as the next batch. No timer: a
//! single report is written at once.
//!
//! Two writers, so that one batch is in transit while the other waits for the disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::settings::Settings;
use super::writer::{self, Writer};
use super::{IntakeError, Receipt};
use crate::model::Report;
use crate::store::reports::{ClassifiedReport, MAX_BATCH};
use crate::store::{Store, StoreError};

/// The bounded queue to the writers. Cheap to clone; when the last clone is dropped, they end.
#[derive(Clone)]
pub(super) struct Queue {
    waiting: mpsc::Sender<Waiting>,
}

struct Waiting {
    classified: ClassifiedReport,
    budget: Option<Duration>,
    answer: oneshot::Sender<Result<Receipt, IntakeError>>,
}

/// A batch ends with the report that exceeds this, so that a statement fits the connection's buffers.
pub(crate) const BATCH_BYTES: usize = 4 * 1024 * 1024;

impl Queue {
    const WRITERS: usize = 2;
    /// The capacity of the queue; further callers wait for a place, within their budget.
    const PLACES: usize = 256;

    pub(super) fn start(writer: &Writer, settings: &Settings) -> Self {
        let (waiting, reports) = mpsc::channel(Self::PLACES);
        let reports = Arc::new(Mutex::new(reports));
        for _ in 0..Self::WRITERS {
            tokio::spawn(supervise_writer(writer.clone(), settings.clone(), Arc::clone(&reports)));
        }
        Self { waiting }
    }

    /// Queues a report; returns when it is committed or has failed.
    pub(super) async fn write(
        &self,
        classified: ClassifiedReport,
        budget: Option<Duration>,
    ) -> Result<Receipt, IntakeError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { classified, budget, answer };
        let written = async {
            self.waiting.send(waiting).await.map_err(|_| writer::writer_gone())?;
            answered.await.unwrap_or_else(|_| Err(writer::writer_gone()))
        };
        // The store enforces its own deadline; this one includes the time in the queue.
        let budget = budget.unwrap_or(Store::DEADLINE) * 2;
        tokio::time::timeout(budget, written).await.unwrap_or_else(|_| Err(StoreError::Timeout(budget).into()))
    }
}

/// Restarts a writer after a panic: only its batch is lost, and unanswered.
async fn supervise_writer(writer: Writer, settings: Settings, reports: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    while let Err(error) = tokio::spawn(write_all(writer.clone(), settings.clone(), Arc::clone(&reports))).await {
        tracing::error!(%error, "a writer of reports panicked; restarting it");
    }
}

async fn write_all(writer: Writer, settings: Settings, reports: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    loop {
        let Some(mut batch) = next_batch(&reports).await else { return };
        // A caller that is gone has deferred its report, or will retry.
        batch.retain(|waiting| !waiting.answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        let reopen_within = settings.current().await.reopen_within;
        let budget = batch.iter().filter_map(|waiting| waiting.budget).min();
        let (classified, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.classified, waiting.answer)).unzip();
        let written = writer.write(&classified, reopen_within, budget).await;
        for (answer, receipt) in answers.into_iter().zip(written.answers) {
            // A caller that is gone will retry, with the same key.
            let _ = answer.send(receipt);
        }
        if !written.events.is_empty() {
            let writer = writer.clone();
            tokio::spawn(async move { writer.publish(&written.events).await });
        }
    }
}

/// All queued reports, up to a batch; waits for at least one. None when the queue is closed.
async fn next_batch(reports: &Mutex<mpsc::Receiver<Waiting>>) -> Option<Vec<Waiting>> {
    let mut reports = reports.lock().await;
    let first = reports.recv().await?;
    // Lets ready callers queue their reports too; costs nothing if there are none.
    tokio::task::yield_now().await;
    let mut bytes = size(&first.classified.report);
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH && bytes < BATCH_BYTES {
        let Ok(next) = reports.try_recv() else { break };
        bytes += size(&next.classified.report);
        batch.push(next);
    }
    Some(batch)
}

/// The approximate size of a report in a statement.
pub(crate) fn size(report: &Report) -> usize {
    let context: usize = report.context.iter().map(|(key, value)| key.len() + value_size(value)).sum();
    report.message.len() + report.stack.as_ref().map_or(0, String::len) + context
}

fn value_size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(object) => object.iter().map(|(key, value)| key.len() + value_size(value)).sum(),
        _ => 8,
    }
}

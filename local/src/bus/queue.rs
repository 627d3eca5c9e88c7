//! What waits for a function: where each event stands in the journal. A message that failed waits longer each time, beside
//! the others, which it delays no more than that. Where the order counts, it comes again before them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Arrival, Kept, template};
use crate::postgres::LOG_TARGET;

/// A message comes again after this time at first, and after this one at last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A queue of the template.
pub(super) struct Queue {
    pub(super) settings: template::Queue,
    /// Whether messages are handed over in the order in which they came: those that defer records for the database.
    pub(super) keeps_order: bool,
    opened: Instant,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

/// When a message is due, then its place among others.
type Turn = (Instant, (u64, u64));

#[derive(Default)]
struct Waiting {
    messages: BTreeMap<Turn, Message>,
    pushed: u64,
    /// Messages that are not taken yet: those that wait here, and those that are being handed over.
    untaken: usize,
}

/// An event that waits here.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: Uuid,
    pub(super) kept: Kept,
    /// How often it was handed out.
    receives: u32,
    /// Since when it fails.
    failing_since: Option<Instant>,
    /// A batch with it ended in no answer at all: it comes alone.
    is_suspect: bool,
}

/// Why a message comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Its function says so.
    Named,
    /// There was no answer, or none that makes sense.
    Silent,
}

/// What becomes of a message that failed.
#[derive(Debug)]
pub(super) enum Next {
    /// It waits for its next turn.
    Waits,
    /// It had turns enough.
    Over(Message),
}

impl Queue {
    pub(super) fn new(settings: template::Queue, keeps_order: bool) -> Self {
        let (opened, waiting, arrived) = (Instant::now(), Mutex::default(), Notify::new());
        Self { settings, keeps_order, opened, waiting, arrived }
    }

    /// A new message; the queue's delay begins now, or has passed.
    pub(super) fn push(&self, kept: Kept, arrival: Arrival) {
        let delay = if arrival == Arrival::Now { self.settings.delay } else { Duration::ZERO };
        let message = Message { id: Uuid::new_v4(), kept, receives: 0, failing_since: None, is_suspect: false };
        let is_first = self.insert(message, Instant::now() + delay, 1);
        if is_first && self.keeps_order && arrival == Arrival::Now {
            tracing::warn!(target: LOG_TARGET, "the database is unavailable: reports are deferred");
        }
    }

    /// A message that has failed. Deferred records wait for the database as long as it takes.
    pub(super) fn push_back(&self, mut message: Message, failure: Failure) -> Next {
        let now = Instant::now();
        let since = *message.failing_since.get_or_insert(now);
        let waits_for_ever = self.keeps_order && failure == Failure::Named;
        if now.duration_since(since) >= self.settings.patience && !waits_for_ever {
            return Next::Over(message);
        }
        message.is_suspect |= failure == Failure::Silent;
        let wait = FIRST_WAIT.saturating_mul(1 << message.receives.saturating_sub(1).min(10)).min(LONGEST_WAIT);
        // Between a half and all of it, so that what failed together does not come together for ever.
        let spread = f64::from(message.id.as_bytes()[0]) / 510.0;
        self.insert(message, now + wait.mul_f64(0.5 + spread), 0);
        Next::Waits
    }

    /// So many messages are taken, or set aside.
    pub(super) fn taken(&self, messages: usize) {
        let mut waiting = self.waiting();
        waiting.untaken = waiting.untaken.saturating_sub(messages);
        if messages > 0 && waiting.untaken == 0 && self.keeps_order {
            tracing::info!(target: LOG_TARGET, "the database is back: nothing deferred waits any more");
        }
    }

    /// Whether nothing waited before.
    fn insert(&self, message: Message, due: Instant, new: usize) -> bool {
        let mut waiting = self.waiting();
        let is_first = waiting.untaken == 0;
        waiting.untaken += new;
        waiting.pushed += 1;
        // By its place in the journal, at once: the first one is the first one again after it has failed.
        let turn = if self.keeps_order { (self.opened, message.kept.position()) } else { (due, (waiting.pushed, 0)) };
        waiting.messages.insert(turn, message);
        drop(waiting);
        self.arrived.notify_one();
        is_first
    }

    /// The next messages that are due, at least one.
    pub(super) async fn take(&self) -> Vec<Message> {
        loop {
            let arrived = self.arrived.notified();
            let next = {
                let mut waiting = self.waiting();
                let batch = waiting.pop(self.settings.batch, Instant::now());
                let next = waiting.messages.first_key_value().map(|((due, _), _)| *due);
                if !batch.is_empty() {
                    if next.is_some() {
                        // For another worker.
                        self.arrived.notify_one();
                    }
                    return batch;
                }
                next
            };
            match next {
                Some(due) => tokio::select! {
                    () = arrived => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => arrived.await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self, limit: usize, now: Instant) -> Vec<Message> {
        let mut batch: Vec<Message> = Vec::new();
        while batch.len() < limit {
            let Some(first) = self.messages.first_entry() else { break };
            let is_alone = first.get().is_suspect;
            if first.key().0 > now || (is_alone && !batch.is_empty()) {
                break;
            }
            let mut message = first.remove();
            message.receives += 1;
            batch.push(message);
            if is_alone {
                break;
            }
        }
        batch
    }
}

impl Message {
    /// As Lambda gets it from SQS.
    pub(super) fn as_sqs(&self, event: &Value) -> SqsMessage {
        let (queue, mut message) = (&self.kept.queue, SqsMessage::default());
        message.message_id = Some(self.id.to_string());
        message.body = Some(event.to_string());
        message.attributes.insert("ApproximateReceiveCount".to_owned(), self.receives.to_string());
        message.event_source = Some("aws:sqs".to_owned());
        message.event_source_arn = Some(format!("arn:aws:sqs:local:000000000000:{queue}"));
        message.aws_region = Some("local".to_owned());
        message
    }
}

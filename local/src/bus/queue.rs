//! A function's queue: each message is the place of an event in the journal. A failed message is retried with an exponential
//! back-off and does not block the others; in an ordered queue it stays the first.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use serde_json::Value;
use shared::back_off::equal_jitter;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Arrival, Kept, template};
use crate::postgres::LOG_TARGET;

/// The first and the longest back-off.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A queue of the template.
pub(super) struct Queue {
    pub(super) settings: template::Queue,
    /// Whether messages are delivered in their order of arrival: those that defer records for the database.
    pub(super) keeps_order: bool,
    opened: Instant,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

/// When a message is due, then its place in the order.
type Turn = (Instant, (u64, u64));

#[derive(Default)]
struct Waiting {
    messages: BTreeMap<Turn, Message>,
    pushed: u64,
    /// Messages that are not taken yet: waiting ones, and those in delivery.
    untaken: usize,
}

/// An event that waits here.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: Uuid,
    pub(super) kept: Kept,
    /// How often it was delivered.
    receives: u32,
    /// Since when it fails.
    failing_since: Option<Instant>,
    /// A batch with it had no valid answer: it is delivered alone.
    is_suspect: bool,
}

/// Why a message is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Its function named it.
    Named,
    /// There was no valid answer.
    Silent,
}

/// What happens to a failed message.
#[derive(Debug)]
pub(super) enum Next {
    /// It waits for its retry.
    Waits,
    /// It had its last retry.
    Over(Message),
}

/// A batch ends with the message that exceeds this.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

impl Queue {
    pub(super) fn new(settings: template::Queue, keeps_order: bool) -> Self {
        let (opened, waiting, arrived) = (Instant::now(), Mutex::default(), Notify::new());
        Self { settings, keeps_order, opened, waiting, arrived }
    }

    /// Adds a message; the queue's delay begins now, or has passed.
    pub(super) fn push(&self, kept: Kept, arrival: Arrival) {
        let delay = if arrival == Arrival::Now { self.settings.delay } else { Duration::ZERO };
        let message = Message { id: Uuid::new_v4(), kept, receives: 0, failing_since: None, is_suspect: false };
        let is_first = self.insert(message, Instant::now() + delay, 1);
        if is_first && self.keeps_order && arrival == Arrival::Now {
            tracing::warn!(target: LOG_TARGET, "the database is unavailable: reports are deferred");
        }
    }

    /// Retries a failed message. Deferred records wait for the database without a limit.
    pub(super) fn retry(&self, mut message: Message, failure: Failure) -> Next {
        let now = Instant::now();
        let since = *message.failing_since.get_or_insert(now);
        let waits_for_ever = self.keeps_order && failure == Failure::Named;
        if now.duration_since(since) >= self.settings.patience && !waits_for_ever {
            return Next::Over(message);
        }
        message.is_suspect |= failure == Failure::Silent;
        let random = f64::from(message.id.as_bytes()[0]) / 255.0;
        let wait = equal_jitter(FIRST_WAIT, message.receives.saturating_sub(1), LONGEST_WAIT, random);
        self.insert(message, now + wait, 0);
        Next::Waits
    }

    /// Counts messages that are taken, or set aside.
    pub(super) fn taken(&self, messages: usize) {
        let mut waiting = self.waiting();
        waiting.untaken = waiting.untaken.saturating_sub(messages);
        if messages > 0 && waiting.untaken == 0 && self.keeps_order {
            tracing::info!(target: LOG_TARGET, "the database is back: nothing deferred waits any more");
        }
    }

    /// Counts messages that stay in the journal for the next start.
    pub(super) fn left(&self, messages: usize) {
        let mut waiting = self.waiting();
        waiting.untaken = waiting.untaken.saturating_sub(messages);
    }

    /// Whether nothing waited before.
    fn insert(&self, message: Message, due: Instant, new: usize) -> bool {
        let mut waiting = self.waiting();
        let is_first = waiting.untaken == 0;
        waiting.untaken += new;
        waiting.pushed += 1;
        // Ordered: by the place in the journal, due at once, so a failed message stays the first.
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
                        // Wake another worker.
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
        let (mut batch, mut bytes): (Vec<Message>, _) = (Vec::new(), 0);
        while batch.len() < limit && bytes < BATCH_BYTES {
            let Some(first) = self.messages.first_entry() else { break };
            let is_alone = first.get().is_suspect;
            if first.key().0 > now || (is_alone && !batch.is_empty()) {
                break;
            }
            let mut message = first.remove();
            message.receives += 1;
            bytes += message.kept.bytes();
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

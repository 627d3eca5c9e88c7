//! What waits for a function: in memory, since the journal has it on the disk. A message that failed waits longer each time,
//! beside the others, which it holds up no more than that.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::template;
use super::{Arrival, Kept};

/// A message comes again after this time at first, and after this one at last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A queue of the template.
pub(super) struct Queue {
    pub(super) settings: template::Queue,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    /// By the time when they are due, then as they came.
    messages: BTreeMap<(Instant, u64), Message>,
    pushed: u64,
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

/// What becomes of a message that failed.
#[derive(Debug)]
pub(super) enum Next {
    /// It waits for its next turn.
    Waits,
    /// It had turns enough.
    Over(Message),
}

impl Queue {
    pub(super) fn new(settings: template::Queue) -> Self {
        Self { settings, waiting: Mutex::default(), arrived: Notify::new() }
    }

    /// A new message; the queue's delay begins now, or has passed.
    pub(super) fn push(&self, kept: Kept, arrival: Arrival) {
        let delay = if arrival == Arrival::Now { self.settings.delay } else { Duration::ZERO };
        let id = Uuid::new_v4();
        let message = Message { id, kept, receives: 0, failing_since: None, is_suspect: false };
        self.insert(message, Instant::now() + delay);
    }

    /// A message that has failed; `all` of its batch did, without a word.
    pub(super) fn push_back(&self, mut message: Message, is_suspect: bool) -> Next {
        let now = Instant::now();
        let since = *message.failing_since.get_or_insert(now);
        if now.duration_since(since) >= self.settings.patience {
            return Next::Over(message);
        }
        message.is_suspect |= is_suspect;
        let wait = FIRST_WAIT.saturating_mul(1 << message.receives.saturating_sub(1).min(10)).min(LONGEST_WAIT);
        // Between a half and all of it, so that what failed together does not come together for ever.
        let spread = f64::from(message.id.as_bytes()[0]) / 510.0;
        self.insert(message, now + wait.mul_f64(0.5 + spread));
        Next::Waits
    }

    fn insert(&self, message: Message, due: Instant) {
        let mut waiting = self.waiting();
        waiting.pushed += 1;
        let key = (due, waiting.pushed);
        waiting.messages.insert(key, message);
        drop(waiting);
        self.arrived.notify_one();
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
                        // Somebody else may look as well.
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
    pub(super) fn as_sqs(&self, queue: &str) -> SqsMessage {
        let mut message = SqsMessage::default();
        message.message_id = Some(self.id.to_string());
        message.body = Some(self.kept.queued.event.to_string());
        message.attributes.insert("ApproximateReceiveCount".to_owned(), self.receives.to_string());
        message.event_source = Some("aws:sqs".to_owned());
        message.event_source_arn = Some(format!("arn:aws:sqs:local:000000000000:{queue}"));
        message.aws_region = Some("local".to_owned());
        message
    }
}

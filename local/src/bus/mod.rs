//! The local bus: takes events as EventBridge does, routes them by the rules of `template.yaml`, and hands them to the
//! functions as their queues would, in batches whose messages fail one by one.
//!
//! - `pattern`: which events a rule matches (pure). `template`: the deployed rules, queues and functions (pure).
//! - `queue`: the messages that wait for a function. `delivery`: delivers and retries them.
//!
//! Invariants: an event is accepted only when it is safe in the journal; it leaves the journal only when its function has
//! taken it, or after as long as AWS would retry (then it is set aside for an operator). Delivery is at least once: every
//! consumer is idempotent by the event's id. Deferred records wait for the database without a limit, and are delivered in
//! their order of arrival.
//!
//! Users: the local stack.

mod delivery;
mod pattern;
mod queue;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use shared::bus::{Bus, BusError, Entry, Taken, Transport};
use shared::store::chain;
use shared::telemetry::HAPPENED;
use uuid::Uuid;

use crate::journal::{Journal, Kept, QueuedEvent};
use crate::scheduler;
pub use delivery::Delivery;
use queue::Queue;
use template::Routes;

/// The messages of a batch that a function did not take, by their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// To be retried.
    pub again: BTreeSet<String>,
    /// To be set aside for an operator.
    pub refused: BTreeSet<String>,
}

impl From<SqsBatchResponse> for NotTaken {
    fn from(response: SqsBatchResponse) -> Self {
        let failed = response.batch_item_failures.into_iter().map(|failure| failure.item_identifier);
        Self { again: failed.collect(), refused: BTreeSet::new() }
    }
}

/// A function that reads a queue.
pub trait Consumer: Send + Sync {
    /// Handles these messages by this deadline, and names those that it did not take.
    fn consume(&self, batch: SqsEvent, deadline: SystemTime) -> Pin<Box<dyn Future<Output = NotTaken> + Send + '_>>;
}

impl Consumer for notify::App {
    fn consume(&self, batch: SqsEvent, _: SystemTime) -> Pin<Box<dyn Future<Output = NotTaken> + Send + '_>> {
        Box::pin(async {
            let response = notify::receive(self, batch).await;
            // In the background: a channel that hangs does not delay the next events.
            scheduler::spawn_send(self.clone(), Utc::now());
            response.into()
        })
    }
}

impl Consumer for dispatch::App {
    fn consume(&self, batch: SqsEvent, _: SystemTime) -> Pin<Box<dyn Future<Output = NotTaken> + Send + '_>> {
        Box::pin(async { dispatch::announce_for(self, batch, Utc::now()).await.into() })
    }
}

impl Consumer for replay::App {
    fn consume(&self, batch: SqsEvent, deadline: SystemTime) -> Pin<Box<dyn Future<Output = NotTaken> + Send + '_>> {
        Box::pin(async move {
            let replay::Failed { waiting, refused } = replay::replay(self, batch, deadline).await;
            NotTaken { again: BTreeSet::from_iter(waiting), refused: BTreeSet::from_iter(refused) }
        })
    }
}

/// A bus on a journal. Clones share it.
#[derive(Clone)]
pub struct LocalBus(Arc<Inner>);

struct Inner {
    journal: Arc<Journal>,
    routes: Routes,
    queues: BTreeMap<String, Arc<Queue>>,
}

impl LocalBus {
    /// Its queue is ordered: a step must not be stored before the report of its incident.
    const IN_ORDER: &str = "ReplayFunction";

    /// A bus with the rules of the template. Its events wait until [`LocalBus::serve`].
    ///
    /// # Errors
    /// When the template has a rule that the local bus does not support.
    pub fn new(journal: Arc<Journal>) -> anyhow::Result<Self> {
        Ok(Self::with_routes(journal, Routes::ours()?))
    }

    fn with_routes(journal: Arc<Journal>, routes: Routes) -> Self {
        let queue = |settings: &template::Queue| {
            let keeps_order = settings.function == Self::IN_ORDER;
            (settings.name.clone(), Arc::new(Queue::new(settings.clone(), keeps_order)))
        };
        Self(Arc::new(Inner { queues: routes.queues.iter().map(queue).collect(), journal, routes }))
    }

    /// Delivers events, also those of an earlier run, to these functions, each by its name in the template.
    ///
    /// # Errors
    /// When a function is missing.
    pub fn serve(&self, consumers: &BTreeMap<&str, Arc<dyn Consumer>>) -> anyhow::Result<Delivery> {
        Delivery::start(self, consumers)
    }

    /// Stores events in the journal, then adds them to their queues.
    async fn take(self, queued: Vec<QueuedEvent>) -> Result<(), BusError> {
        let kept = self.0.journal.keep(&queued).await.map_err(|error| BusError::Refused(chain(&error)))?;
        for kept in kept {
            // It is there: the template's rule names it.
            if let Some(queue) = self.0.queues.get(&kept.queue) {
                queue.push(kept, Arrival::Now);
            }
        }
        Ok(())
    }

    /// Adds the events of an earlier run to their queues.
    async fn enqueue_left(&self) {
        let mut without_queue = Vec::new();
        let hand_on = |kept: Kept| match self.0.queues.get(&kept.queue) {
            Some(queue) => queue.push(kept, Arrival::Before),
            None => without_queue.push(kept),
        };
        self.0.journal.find_left(hand_on).await;
        for kept in without_queue {
            let event = match self.0.journal.read(&[&kept]).await {
                Ok(events) => events.into_iter().next().and_then(Result::ok),
                Err(error) => {
                    tracing::error!(%error, "an event stays in the journal, which can't be read: {error}");
                    continue;
                }
            };
            // Of a run whose template had another queue.
            self.0.journal.refuse(&kept, &event.unwrap_or_default(), "there is no such queue any more").await;
        }
    }

    /// This entry for each queue that it matches; or why it is refused.
    fn route(&self, entry: &Entry, now: DateTime<Utc>) -> Result<Vec<QueuedEvent>, String> {
        let event = event_of(entry, now)?;
        let queues = self.0.routes.of(&event).into_iter();
        Ok(queues.map(|queue| QueuedEvent { queue: queue.to_owned(), event: event.clone() }).collect())
    }

    async fn put_all(&self, entries: &[Entry]) -> Result<Vec<Taken>, BusError> {
        let (mut queued, mut taken) = (Vec::new(), Vec::new());
        let now = Utc::now();
        for entry in entries {
            tracing::debug!(target: HAPPENED, detail_type = &*entry.detail_type, detail = &*entry.detail, "taken by the bus");
            taken.push(self.route(entry, now).map(|events| queued.extend(events)));
        }
        // In its own task, which completes although the publisher gives up.
        match tokio::spawn(self.clone().take(queued)).await {
            Ok(kept) => kept.map(|()| taken),
            Err(_) => Err(BusError::Refused("the bus has ended".to_owned())),
        }
    }
}

/// When an event was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Now,
    /// In an earlier run.
    Before,
}

impl Transport for LocalBus {
    fn put<'a>(
        &'a self,
        entries: &'a [Entry],
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Taken>, BusError>> + Send + 'a>> {
        Box::pin(self.put_all(entries))
    }

    fn is_warm(&self) -> bool {
        true
    }
}

/// The event in EventBridge's form.
fn event_of(entry: &Entry, now: DateTime<Utc>) -> Result<Value, String> {
    let detail: Value = serde_json::from_str(&entry.detail).map_err(|_| "MalformedDetail: it is no JSON".to_owned())?;
    if !detail.is_object() {
        return Err("MalformedDetail: it is no object".to_owned());
    }
    Ok(json!({
        "version": "0",
        "id": Uuid::new_v4(),
        "detail-type": entry.detail_type,
        "source": Bus::SOURCE,
        "account": "000000000000",
        "time": now.to_rfc3339_opts(SecondsFormat::Secs, true),
        "region": "local",
        "resources": [],
        "detail": detail,
    }))
}

//! Delivers messages to their functions: with each queue's concurrency and batch size, in the form that Lambda uses. Events of
//! an earlier run are delivered first.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use aws_lambda_events::sqs::SqsEvent;
use serde_json::Value;
use shared::store::chain;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::queue::{Failure, Message, Next, Queue};
use super::{Consumer, LocalBus, NotTaken};
use crate::journal::Journal;

/// The pause of an ordered queue after a failed batch.
const PAUSE: Duration = Duration::from_secs(1);

/// The running workers. Dropping them stops them at once; unfinished events are delivered again after the next start.
pub struct Delivery {
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
}

impl Delivery {
    /// The time budget of running deliveries when the stack stops.
    const LAST: Duration = Duration::from_millis(500);

    pub(super) fn start(bus: &LocalBus, consumers: &BTreeMap<&str, Arc<dyn Consumer>>) -> anyhow::Result<Self> {
        let ((stop, stopped), (begin, begun)) = (watch::channel(false), watch::channel(false));
        let mut workers = JoinSet::new();
        for queue in bus.0.queues.values() {
            let function = queue.settings.function.as_str();
            let consumer = consumers.get(function).with_context(|| format!("the local stack has no {function}"))?;
            let count = if queue.keeps_order { 1 } else { queue.settings.concurrency };
            for _ in 0..count {
                let worker = Worker {
                    queue: Arc::clone(queue),
                    consumer: Arc::clone(consumer),
                    journal: Arc::clone(&bus.0.journal),
                };
                workers.spawn(worker.run(begun.clone(), stopped.clone()));
            }
        }
        let (bus, mut stopped) = (bus.clone(), stopped);
        workers.spawn(async move {
            tokio::select! {
                // Fails only when the workers have ended.
                () = bus.enqueue_left() => drop(begin.send(true)),
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
        Ok(Self { stop, workers })
    }

    /// Starts no delivery, waits for the running ones, and keeps the rest for the next start.
    pub async fn stop(mut self) {
        // Fails only when everything has ended already.
        let _ = self.stop.send(true);
        let all = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(Self::LAST, all).await.is_err() {
            tracing::warn!("an event was still being delivered; it is delivered again after the next start");
        }
    }
}

struct Worker {
    queue: Arc<Queue>,
    consumer: Arc<dyn Consumer>,
    journal: Arc<Journal>,
}

impl Worker {
    async fn run(self, mut begun: watch::Receiver<bool>, mut stopped: watch::Receiver<bool>) {
        // An error means that the stack stops before it has begun.
        if begun.wait_for(|begun| *begun).await.is_err() {
            return;
        }
        loop {
            let batch = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                batch = self.queue.take() => batch,
            };
            let has_failed = self.deliver(batch).await;
            if has_failed && self.queue.keeps_order {
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    /// Delivers a batch; whether a message of it is retried.
    async fn deliver(&self, batch: Vec<Message>) -> bool {
        let places: Vec<_> = batch.iter().map(|message| &message.kept).collect();
        let mut readable = Vec::new();
        match self.journal.read(&places).await {
            Ok(events) => {
                for (message, event) in batch.into_iter().zip(events) {
                    match event {
                        Ok(event) => readable.push((message, event)),
                        Err(error) => self.set_aside(&message, &Value::Null, &chain(&error)).await,
                    }
                }
            }
            Err(error) if !is_permanent(&error) => {
                tracing::error!(%error, "the journal can't be read; its events are retried: {error}");
                return self.retry_all(batch, Failure::Named).await;
            }
            // A file of these can't be read: the others are delivered.
            Err(_) => {
                for message in batch {
                    if let Some(event) = self.read_one(&message).await {
                        readable.push((message, event));
                    }
                }
            }
        }
        match self.hand_over(&readable).await {
            Some(not_taken) => self.settle(readable, &not_taken).await,
            None => self.retry_all(readable.into_iter().map(|(message, _)| message).collect(), Failure::Silent).await,
        }
    }

    /// The event of a message. If its file can't be read, it stays there until the next start; a damaged line is set aside.
    async fn read_one(&self, message: &Message) -> Option<Value> {
        match self.journal.read(&[&message.kept]).await.map(|events| events.into_iter().next()) {
            Ok(Some(Ok(event))) => return Some(event),
            Ok(Some(Err(error))) => self.set_aside(message, &Value::Null, &chain(&error)).await,
            Ok(None) => self.queue.left(1),
            Err(error) => {
                let segment = message.kept.segment;
                tracing::error!(segment, %error, "an event stays in segment {segment} of the journal, which can't be read: {error}");
                self.queue.left(1);
            }
        }
        None
    }

    async fn settle(&self, batch: Vec<(Message, Value)>, not_taken: &NotTaken) -> bool {
        let (mut again, mut delivered) = (Vec::new(), BTreeMap::<u64, usize>::new());
        for (message, event) in batch {
            let id = message.id.to_string();
            if not_taken.again.contains(&id) {
                again.push(message);
            } else if not_taken.refused.contains(&id) {
                self.set_aside(&message, &event, &format!("{} refused it", self.queue.settings.function)).await;
            } else {
                *delivered.entry(message.kept.segment).or_default() += 1;
            }
        }
        for (segment, events) in delivered {
            self.journal.delivered(segment, events).await;
            self.queue.taken(events);
        }
        self.retry_all(again, Failure::Named).await
    }

    /// Retries these messages, with a back-off; whether there was one.
    async fn retry_all(&self, batch: Vec<Message>, failure: Failure) -> bool {
        let has_failed = !batch.is_empty();
        for message in batch {
            if let Next::Over(message) = self.queue.retry(message, failure) {
                let Some(event) = self.read_one(&message).await else { continue };
                self.set_aside(&message, &event, &format!("{} did not take it", self.queue.settings.function)).await;
            }
        }
        has_failed
    }

    async fn set_aside(&self, message: &Message, event: &Value, reason: &str) {
        self.journal.refuse(&message.kept, event, reason).await;
        self.queue.taken(1);
    }

    /// The messages that were not taken; none = there was no valid answer.
    async fn hand_over(&self, batch: &[(Message, Value)]) -> Option<NotTaken> {
        let mut event = SqsEvent::default();
        event.records = batch.iter().map(|(message, event)| message.as_sqs(event)).collect();
        let (consumer, timeout) = (Arc::clone(&self.consumer), self.queue.settings.timeout);
        let deadline = SystemTime::now() + timeout;
        // In its own task, which isolates a panic. It ends with this set.
        let mut task = JoinSet::new();
        task.spawn(async move { consumer.consume(event, deadline).await });
        let function = &self.queue.settings.function;
        let not_taken = match tokio::time::timeout(timeout, task.join_next()).await {
            Ok(Some(Ok(not_taken))) => not_taken,
            Ok(_) => {
                tracing::error!(function, "{function} crashed; its events are retried");
                return None;
            }
            Err(_) => {
                tracing::error!(function, "{function} exceeded its timeout; its events are retried");
                return None;
            }
        };
        // As in AWS: an answer that names a message outside the batch is invalid.
        let is_known = |id: &String| batch.iter().any(|(message, _)| message.id.to_string() == *id);
        let is_valid = not_taken.again.iter().chain(&not_taken.refused).all(is_known);
        is_valid.then_some(not_taken)
    }
}

/// Whether a file of the journal is lost or damaged; anything else may pass.
fn is_permanent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, PermissionDenied, UnexpectedEof};
    matches!(error.kind(), NotFound | PermissionDenied | UnexpectedEof | InvalidData)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;

    use serde_json::Value;
    use shared::bus::{Entry, Transport as _};

    use super::super::template::Routes;
    use super::*;

    /// Takes nothing.
    struct Refusing;

    impl Consumer for Refusing {
        fn consume(&self, batch: SqsEvent, _: SystemTime) -> Pin<Box<dyn Future<Output = NotTaken> + Send + '_>> {
            let again = batch.records.into_iter().filter_map(|message| message.message_id).collect();
            Box::pin(async move { NotTaken { again, ..NotTaken::default() } })
        }
    }

    #[tokio::test]
    async fn an_event_that_fails_for_too_long_is_set_aside_for_an_operator() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let mut routes = Routes::ours().unwrap();
        for queue in &mut routes.queues {
            queue.patience = Duration::ZERO;
        }
        let bus = LocalBus::with_routes(Arc::clone(&journal), routes);
        let refusing = || Arc::new(Refusing) as Arc<dyn Consumer>;
        let consumers = BTreeMap::from(
            ["NotifyFunction", "DispatchFunction", "ReplayFunction"].map(|function| (function, refusing())),
        );
        let delivery = bus.serve(&consumers).unwrap();
        let entry = Entry { detail_type: "AlertRaised".to_owned(), detail: r#"{"number": 7}"#.to_owned() };
        assert_eq!(bus.put(&[entry]).await.unwrap(), [Ok(())]);
        let begun = std::time::Instant::now();
        let set_aside = loop {
            assert!(begun.elapsed() < Duration::from_secs(20));
            match std::fs::read_to_string(journal.refused()) {
                Ok(text) if text.ends_with('\n') => break text,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let line: Value = serde_json::from_str(set_aside.trim_end()).unwrap();
        assert_eq!((&line["queue"], &line["event"]["detail"]["number"]), (&"Notices".into(), &7.into()));
        assert!(line["reason"].as_str().unwrap().contains("NotifyFunction"));
        delivery.stop().await;
    }

    #[tokio::test]
    async fn a_missing_function_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let bus = LocalBus::new(Journal::open(folder.path()).unwrap()).unwrap();
        let Err(error) = bus.serve(&BTreeMap::new()) else { unreachable!("it should fail") };
        assert!(error.to_string().contains("Function"), "{error}");
    }
}

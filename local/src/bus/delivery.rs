//! Who brings messages to their functions: so many at a time for each queue as its function takes, each batch as Lambda
//! would hand it over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::queue::{Message, Next, Queue};
use super::{Arrival, Consumer, LocalBus};
use crate::journal::Journal;

/// Running deliveries. Dropping them stops them at once; what was under way comes again after the next start.
pub struct Delivery {
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
}

impl Delivery {
    /// What is being delivered when the stack stops gets this long.
    const LAST: Duration = Duration::from_millis(500);

    pub(super) fn start(bus: &LocalBus, consumers: &BTreeMap<&str, Arc<dyn Consumer>>) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut workers = JoinSet::new();
        for queue in bus.0.queues.values() {
            let function = queue.settings.function.as_str();
            let consumer = consumers.get(function).with_context(|| format!("the local stack has no {function}"))?;
            for _ in 0..queue.settings.concurrency {
                let worker = Worker {
                    queue: Arc::clone(queue),
                    consumer: Arc::clone(consumer),
                    journal: Arc::clone(&bus.0.journal),
                };
                workers.spawn(worker.run(stopped.clone()));
            }
        }
        let (bus, mut left) = (bus.clone(), bus.0.journal.left());
        let mut stopped = stopped;
        workers.spawn(async move {
            let hand_on = async {
                while let Some(kept) = left.recv().await {
                    bus.enqueue(kept, Arrival::Before).await;
                }
            };
            tokio::select! {
                () = hand_on => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
        Ok(Self { stop, workers })
    }

    /// Begins nothing new, lets end what is being delivered, and keeps the rest for the next start.
    pub async fn stop(mut self) {
        // Fails only when everything has ended already.
        let _ = self.stop.send(true);
        let all = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(Self::LAST, all).await.is_err() {
            tracing::warn!("an event was still being delivered; it comes again after the next start");
        }
    }
}

struct Worker {
    queue: Arc<Queue>,
    consumer: Arc<dyn Consumer>,
    journal: Arc<Journal>,
}

impl Worker {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        loop {
            let batch = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                batch = self.queue.take() => batch,
            };
            self.deliver(batch).await;
        }
    }

    async fn deliver(&self, batch: Vec<Message>) {
        let failed = self.hand_over(&batch).await;
        let is_silent = failed.is_none();
        let mut delivered: BTreeMap<u64, usize> = BTreeMap::new();
        for message in batch {
            if failed.as_ref().is_some_and(|failed| !failed.contains(&message.id.to_string())) {
                *delivered.entry(message.kept.segment).or_default() += 1;
            } else if let Next::Over(message) = self.queue.push_back(message, is_silent) {
                let function = &self.queue.settings.function;
                tracing::error!(function, "{function} has not taken an event for too long: it is set aside");
                self.journal.refuse(&message.kept, &format!("{function} did not take it")).await;
            }
        }
        for (segment, events) in delivered {
            self.journal.delivered(segment, events).await;
        }
    }

    /// The ids of the messages that have to come again; none = there was no answer that makes sense.
    async fn hand_over(&self, batch: &[Message]) -> Option<BTreeSet<String>> {
        let mut event = SqsEvent::default();
        event.records = batch.iter().map(|message| message.as_sqs(&self.queue.settings.name)).collect();
        let consumer = Arc::clone(&self.consumer);
        // A task of its own, so that a panic in it is no end of ours. It ends with this set.
        let mut task = JoinSet::new();
        task.spawn(async move { consumer.consume(event).await });
        let function = &self.queue.settings.function;
        let answer = match tokio::time::timeout(self.queue.settings.timeout, task.join_next()).await {
            Ok(Some(Ok(answer))) => answer,
            Ok(_) => {
                tracing::error!(function, "{function} crashed; its events come again");
                return None;
            }
            Err(_) => {
                tracing::error!(function, "{function} ran out of time; its events come again");
                return None;
            }
        };
        failures(&answer, batch)
    }
}

/// As AWS reads it: an answer that names a message that was not there means all of them.
fn failures(answer: &SqsBatchResponse, batch: &[Message]) -> Option<BTreeSet<String>> {
    let known: BTreeSet<String> = batch.iter().map(|message| message.id.to_string()).collect();
    let failed = answer.batch_item_failures.iter().map(|failure| failure.item_identifier.clone());
    let failed: BTreeSet<String> = failed.collect();
    if failed.is_subset(&known) { Some(failed) } else { Some(known) }
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
        fn consume(&self, batch: SqsEvent) -> Pin<Box<dyn Future<Output = SqsBatchResponse> + Send + '_>> {
            let mut response = SqsBatchResponse::default();
            for message in batch.records {
                let mut failure = aws_lambda_events::sqs::BatchItemFailure::default();
                failure.item_identifier = message.message_id.unwrap_or_default();
                response.batch_item_failures.push(failure);
            }
            Box::pin(async move { response })
        }
    }

    #[tokio::test]
    async fn what_no_function_takes_for_too_long_is_set_aside_for_people() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let mut routes = Routes::ours().unwrap();
        for queue in &mut routes.queues {
            queue.patience = Duration::ZERO;
        }
        let bus = LocalBus::with_routes(Arc::clone(&journal), routes);
        let refusing = || Arc::new(Refusing) as Arc<dyn Consumer>;
        let consumers = BTreeMap::from([("NotifyFunction", refusing()), ("DispatchFunction", refusing())]);
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
    async fn a_function_that_is_missing_is_told_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let bus = LocalBus::new(Journal::open(folder.path()).unwrap()).unwrap();
        let Err(error) = bus.serve(&BTreeMap::new()) else { unreachable!("it should fail") };
        assert!(error.to_string().contains("Function"), "{error}");
    }
}

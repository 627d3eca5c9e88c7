//! Tells the bus what has happened, right after the commit that made it true, while the caller still waits: nothing
//! runs after a Lambda's answer. What can't be told in time stays in the outbox.
//!
//! Users: `intake`, `probe`.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::config::Environment;
use crate::store::outbox::{self, Attempt, PendingEvent};
use crate::store::{Store, StoreError, chain};

/// Where events go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusConfig {
    /// `EVENT_BUS_NAME`; none = events stay in the outbox.
    pub event_bus_name: Option<String>,
}

impl BusConfig {
    /// Reads `EVENT_BUS_NAME`.
    #[must_use]
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { event_bus_name: environment.optional("EVENT_BUS_NAME") }
    }
}

/// Publishes events from the outbox. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    store: Store,
    bus: Option<Arc<Bus>>,
}

struct Bus {
    name: String,
    /// Built at first use: an invocation that tells nothing pays nothing for it.
    client: OnceCell<aws_sdk_eventbridge::Client>,
}

/// Why the bus took nothing.
#[derive(Debug, thiserror::Error)]
enum BusError {
    #[error("the bus did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the bus refused: {0}")]
    Refused(String),
}

impl Publisher {
    /// The caller waits for no more than this.
    const PATIENCE: Duration = Duration::from_millis(200);
    /// `PutEvents` takes this many entries at a time.
    const ENTRIES: usize = 10;
    /// What we are called on the bus.
    const SOURCE: &str = "watchkeeper";

    /// A publisher of this store's events.
    #[must_use]
    pub fn new(store: Store, config: BusConfig) -> Self {
        let bus = config.event_bus_name.map(|name| Arc::new(Bus { name, client: OnceCell::new() }));
        Self { store, bus }
    }

    /// Publishes those of these events that the outbox holds. Never fails its caller: what was not told is logged,
    /// and stays in the outbox.
    pub async fn publish(&self, ids: &[Uuid]) {
        let Some(bus) = &self.bus else { return };
        if ids.is_empty() {
            return;
        }
        // Boxed: the client's future is large, and would make every caller's as large.
        if let Err(error) = Box::pin(self.publish_to(bus, ids)).await {
            tracing::warn!(error = %chain(&error), "events stay in the outbox");
        }
    }

    async fn publish_to(&self, bus: &Bus, ids: &[Uuid]) -> Result<(), StoreError> {
        let events = self.store.run(|client| async move { outbox::list_unpublished(&client, ids).await }).await?;
        let started = tokio::time::Instant::now();
        let mut attempts = Vec::with_capacity(events.len());
        for some in events.chunks(Self::ENTRIES) {
            let left = Self::PATIENCE.saturating_sub(started.elapsed());
            let late = Err(BusError::Timeout(Self::PATIENCE));
            // With no time left nothing is sent that would be taken for not sent.
            let told =
                if left.is_zero() { late } else { tokio::time::timeout(left, bus.put(some)).await.unwrap_or(late) };
            attempts.extend(match told {
                Ok(attempts) => attempts,
                Err(error) => {
                    let failed = |event: &PendingEvent| Attempt { id: event.id, error: Some(error.to_string()) };
                    some.iter().map(failed).collect()
                }
            });
        }
        for attempt in &attempts {
            if let Some(error) = &attempt.error {
                tracing::warn!(event.id = %attempt.id, error, "event {} was not taken by the bus", attempt.id);
            }
        }
        let (attempts, now) = (attempts.as_slice(), Utc::now());
        self.store.run(|client| async move { outbox::mark_attempted(&client, attempts, now).await }).await
    }
}

impl Bus {
    /// One `PutEvents`: it answers 200 even when entries fail, so each entry's own result is read.
    async fn put(&self, events: &[PendingEvent]) -> Result<Vec<Attempt>, BusError> {
        let client = self.client.get_or_init(connect).await;
        let entries = events.iter().map(|event| {
            aws_sdk_eventbridge::types::PutEventsRequestEntry::builder()
                .event_bus_name(&self.name)
                .source(Publisher::SOURCE)
                .detail_type(&event.detail_type)
                .detail(event.detail.to_string())
                .build()
        });
        let answer = client
            .put_events()
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|error| BusError::Refused(chain(&error)))?;
        if answer.entries().len() != events.len() {
            return Err(BusError::Refused("it answered for another number of events".to_owned()));
        }
        let results = events.iter().zip(answer.entries());
        Ok(results
            .map(|(event, entry)| Attempt {
                id: event.id,
                error: entry
                    .error_code()
                    .map(|code| format!("{code}: {}", entry.error_message().unwrap_or("no reason given"))),
            })
            .collect())
    }
}

/// Region, credentials and endpoint come from the environment, as AWS sets it.
async fn connect() -> aws_sdk_eventbridge::Client {
    aws_sdk_eventbridge::Client::new(&aws_config::load_from_env().await)
}

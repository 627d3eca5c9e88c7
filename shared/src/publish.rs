//! Tells the bus what has happened, right after the commit that made it true, while the caller still waits: nothing
//! runs after a Lambda's answer. What can't be told in time stays in the outbox.
//!
//! Users: `intake`, `probe`.

use std::time::Duration;

use chrono::Utc;
use uuid::Uuid;

pub use crate::bus::BusConfig;
use crate::bus::{Bus, Entry};
use crate::store::outbox::{self, Attempt, PendingEvent};
use crate::store::{Store, StoreError, chain};

/// Publishes events from the outbox. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    store: Store,
    bus: Option<Bus>,
    patience: Duration,
}

impl Publisher {
    /// A publisher of this store's events.
    #[must_use]
    pub fn new(store: Store, config: BusConfig) -> Self {
        Self { store, patience: config.publish_budget, bus: Bus::new(config) }
    }

    /// Where it publishes, if anywhere.
    #[must_use]
    pub fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
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
        let listed =
            self.store.run_within(self.patience, |client| async move { outbox::list_unpublished(&client, ids).await });
        let events = listed.await?;
        let started = tokio::time::Instant::now();
        let mut attempts = Vec::with_capacity(events.len());
        for some in events.chunks(Bus::ENTRIES) {
            attempts.extend(attempt(bus, some, self.patience.saturating_sub(started.elapsed())).await);
        }
        for attempt in &attempts {
            if let Some(error) = &attempt.error {
                tracing::warn!(event.id = %attempt.id, error, "event {} was not taken by the bus", attempt.id);
            }
        }
        let (attempts, now) = (attempts.as_slice(), Utc::now());
        self.store
            .run_within(self.patience, |client| async move { outbox::mark_attempted(&client, attempts, now).await })
            .await
    }
}

async fn attempt(bus: &Bus, events: &[PendingEvent], patience: Duration) -> Vec<Attempt> {
    let entries =
        events.iter().map(|event| Entry { detail_type: &event.detail_type, detail: event.detail.to_string() });
    match bus.put(entries.collect(), patience).await {
        Ok(taken) => {
            let results = events.iter().zip(taken);
            results.map(|(event, taken)| Attempt { id: event.id, error: taken.err() }).collect()
        }
        Err(error) => {
            let failed = |event: &PendingEvent| Attempt { id: event.id, error: Some(error.to_string()) };
            events.iter().map(failed).collect()
        }
    }
}

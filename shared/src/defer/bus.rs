//! The bus as the place of deferral: EventBridge keeps the event `ReportDeferred` until its queue has it.
//!
//! Users: the Lambdas that take in errors, check-ins and heartbeats.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use super::{Defer, DeferError, Deferral, Deferred, packing};
use crate::bus::{Bus, BusConfig, Entry};
use crate::events::OutboxEvent;
use crate::intake::Intake;
use crate::publish::Publisher;
use crate::store::Store;

/// Defers reports to the bus.
#[derive(Clone)]
pub struct BusDeferral {
    bus: Bus,
    /// How long the bus gets: the first time, and from then on.
    patience: [Duration; 2],
}

impl BusDeferral {
    /// How long the bus gets at least. Sentry waits for one second in all, the database has had 300 ms of it by now.
    const PATIENCE: Duration = Duration::from_millis(300);
    /// The first time there is a client to set up and a TLS handshake to make: that may take so much longer.
    const HANDSHAKE: Duration = Duration::from_millis(200);

    /// Defers to this bus.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self::with_patience(bus, Self::PATIENCE + Self::HANDSHAKE, Self::PATIENCE)
    }

    /// Defers to this bus, which gets this long: the first time, and from then on.
    #[must_use]
    pub fn with_patience(bus: Bus, first: Duration, later: Duration) -> Self {
        Self { bus, patience: [first, later] }
    }

    /// Defers to this bus, which gets `PUBLISH_BUDGET_MS` where that is longer than usual.
    fn within(bus: &Bus, publish_budget: Duration) -> Self {
        let patience = publish_budget.max(Self::PATIENCE);
        Self::with_patience(bus.clone(), patience + Self::HANDSHAKE, patience)
    }

    /// The intake with the bus of this publisher as its place of deferral; without a bus, as it is.
    #[must_use]
    pub fn attach(intake: Intake, publisher: &Publisher) -> Intake {
        match publisher.bus() {
            Some(bus) => intake.with_deferral(Arc::new(Self::within(bus, publisher.budget()))),
            None => intake,
        }
    }

    /// The bus that is configured as a function's place of deferral, after this time; without a bus, none.
    #[must_use]
    pub fn configured(config: BusConfig, store_budget: Duration) -> Deferral {
        let publish_budget = config.publish_budget;
        match Bus::new(config) {
            Some(bus) => Deferral::to(Arc::new(Self::within(&bus, publish_budget)), store_budget),
            None => Deferral::without_place(Store::DEADLINE),
        }
    }

    async fn put(&self, records: &[Deferred]) -> Result<(), DeferError> {
        let events = packing::pack(records, Utc::now())?;
        let patience = self.patience[usize::from(self.bus.is_warm())];
        let started = tokio::time::Instant::now();
        // One by one: a request as a whole may not be larger than one entry.
        for event in events {
            self.put_one(event, patience.saturating_sub(started.elapsed())).await?;
        }
        Ok(())
    }

    async fn put_one(&self, event: OutboxEvent, patience: Duration) -> Result<(), DeferError> {
        let entry = Entry { detail_type: event.detail_type, detail: event.detail.to_string() };
        let taken = self.bus.put(&[entry], patience).await.map_err(|error| DeferError::Unavailable(error.into()))?;
        if let Some(Err(reason)) = taken.into_iter().next() {
            return Err(DeferError::Unavailable(reason.into()));
        }
        tracing::warn!(event.id = %event.id, "deferred to the bus, as event {}", event.id);
        Ok(())
    }
}

impl Defer for BusDeferral {
    fn defer<'a>(
        &'a self,
        records: &'a [Deferred],
    ) -> Pin<Box<dyn Future<Output = Result<(), DeferError>> + Send + 'a>> {
        Box::pin(self.put(records))
    }
}

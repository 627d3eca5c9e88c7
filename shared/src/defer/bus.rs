//! The bus as the place of deferral: EventBridge keeps the event `ReportDeferred` until its queue has it.
//!
//! Users: the Lambdas that take in errors.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use super::{Defer, DeferError, packing};
use crate::bus::{Bus, Entry};
use crate::events::OutboxEvent;
use crate::intake::Intake;
use crate::model::Report;

/// Defers reports to the bus.
#[derive(Clone)]
pub struct BusDeferral {
    bus: Bus,
}

impl BusDeferral {
    /// How long the bus gets. Sentry waits for one second in all, the database has had 300 ms of it by now.
    const PATIENCE: Duration = Duration::from_millis(300);
    /// The first time there is a client to set up and a TLS handshake to make.
    const FIRST_PATIENCE: Duration = Duration::from_millis(500);

    /// Defers to this bus.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// The intake with this bus as its place of deferral; without a bus, as it is.
    #[must_use]
    pub fn attach(intake: Intake, bus: Option<&Bus>) -> Intake {
        match bus {
            Some(bus) => intake.with_deferral(Arc::new(Self::new(bus.clone()))),
            None => intake,
        }
    }

    async fn put(&self, reports: &[Report]) -> Result<(), DeferError> {
        let events = packing::pack(reports, Utc::now())?;
        let patience = if self.bus.is_warm() { Self::PATIENCE } else { Self::FIRST_PATIENCE };
        let started = tokio::time::Instant::now();
        // One by one: a request as a whole may not be larger than one entry.
        for event in events {
            self.put_one(event, patience.saturating_sub(started.elapsed())).await?;
        }
        Ok(())
    }

    async fn put_one(&self, event: OutboxEvent, patience: Duration) -> Result<(), DeferError> {
        let entry = Entry { detail_type: event.detail_type.to_owned(), detail: event.detail.to_string() };
        let taken = self.bus.put(&[entry], patience).await.map_err(|error| DeferError::Unavailable(error.into()))?;
        if let Some(Err(reason)) = taken.into_iter().next() {
            return Err(DeferError::Unavailable(reason.into()));
        }
        tracing::warn!(event.id = %event.id, "reports are deferred to the bus, as event {}", event.id);
        Ok(())
    }
}

impl Defer for BusDeferral {
    fn defer<'a>(&'a self, reports: &'a [Report]) -> Pin<Box<dyn Future<Output = Result<(), DeferError>> + Send + 'a>> {
        Box::pin(self.put(reports))
    }
}

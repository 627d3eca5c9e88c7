//! What the function needs: its configuration, and the App that is built of it once per process.

use anyhow::Context as _;
use chrono::TimeDelta;
use shared::config::{DatabaseConfig, Environment};
use shared::intake::{Intake, IntakeConfig};
use shared::publish::{BusConfig, Publisher};
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where reports are stored.
    pub database: DatabaseConfig,
    /// Where new incidents are published.
    pub bus: BusConfig,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { database: DatabaseConfig::read(environment), bus: BusConfig::read(environment) }
    }
}

/// Everything that a batch needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) intake: Intake,
    pub(crate) wait_for_report: TimeDelta,
}

impl App {
    /// A step whose incident is not known yet is retried until it is this old: the report that opens the incident may be in
    /// another message, which the queue delivers for a day. Then the step is kept without an incident.
    pub const WAIT_FOR_REPORT: TimeDelta = TimeDelta::hours(23);

    /// The App of a Lambda environment: a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-replay", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        // Without deferral: what can't be stored now stays in the queue.
        let intake = Intake::new(store, publisher, IntakeConfig::default());
        Ok(Self { intake, wait_for_report: Self::WAIT_FOR_REPORT })
    }

    /// An App on an intake without deferral, for an ordered queue: no report arrives after its step.
    #[must_use]
    pub fn in_order(intake: Intake) -> Self {
        Self { intake, wait_for_report: TimeDelta::zero() }
    }

    /// Closes the connections: the process is about to end.
    pub fn close(&self) {
        self.intake.close();
    }
}

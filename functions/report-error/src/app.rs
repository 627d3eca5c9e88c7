//! Configuration, and the App that is built from it once per process.

use anyhow::Context as _;
use secrecy::SecretString;
use shared::config::{DatabaseConfig, Environment};
use shared::defer::bus::BusDeferral;
use shared::http::{Exposure, Gate};
use shared::intake::{Intake, IntakeConfig};
use shared::publish::{BusConfig, Publisher};
use shared::security::Watch;
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where reports are stored.
    pub database: DatabaseConfig,
    /// The bus for events of new incidents, and for reports that are deferred while the database is unavailable.
    pub bus: BusConfig,
    /// How reports are recorded.
    pub intake: IntakeConfig,
    /// `INGEST_API_KEY`: the key that callers need to report.
    pub ingest_key: Option<SecretString>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            intake: IntakeConfig::read(environment),
            ingest_key: environment.token("INGEST_API_KEY"),
        }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) gate: Gate,
    pub(crate) intake: Intake,
    pub(crate) watch: Watch,
}

impl App {
    /// The App of a Lambda environment, with a pool of its own, open to the internet.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-report-error", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        let watch = Watch::new(store.clone());
        let intake = BusDeferral::attach(Intake::new(store, publisher.clone(), config.intake), &publisher);
        Ok(Self::new(intake, watch, config.ingest_key, Exposure::Public))
    }

    /// An App on an existing intake.
    #[must_use]
    pub fn new(intake: Intake, watch: Watch, ingest_key: Option<SecretString>, exposure: Exposure) -> Self {
        Self { gate: Gate::reporting(ingest_key, exposure), intake, watch }
    }

    /// Loads what the first request would wait for.
    pub async fn warm_up(&self) {
        self.intake.refresh_settings().await;
    }

    /// Flushes security events and closes the pool before the process ends.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.intake.close();
    }
}

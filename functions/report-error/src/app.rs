//! What the function needs: its configuration, and the App that is built of it once per process.

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
    /// Who is told of new incidents, and keeps reports while the database is away.
    pub bus: BusConfig,
    /// How reports are taken in.
    pub intake: IntakeConfig,
    /// `INGEST_API_KEY`: who has it may report.
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
    /// The App of a Lambda environment: a pool of its own, open to the world.
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

    /// An App on an intake that is there already.
    #[must_use]
    pub fn new(intake: Intake, watch: Watch, ingest_key: Option<SecretString>, exposure: Exposure) -> Self {
        Self { gate: Gate::reporting(ingest_key, exposure), intake, watch }
    }

    /// Does what the first request would wait for.
    pub async fn warm_up(&self) {
        self.intake.refresh_settings().await;
    }

    /// Writes down what is left and hangs up politely: the process is about to end.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.intake.close();
    }
}

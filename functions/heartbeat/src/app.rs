//! Configuration, and the App that is built from it once per process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shared::bus::BusConfig;
use shared::config::{DatabaseConfig, Environment};
use shared::defer::Deferral;
use shared::defer::bus::BusDeferral;
use shared::redact::Redactor;
use shared::security::Watch;
use shared::store::{PoolSize, Store};

use crate::tokens::Tokens;

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where heartbeats are stored.
    pub database: DatabaseConfig,
    /// Where heartbeats are deferred while the database is unavailable.
    pub bus: BusConfig,
    /// Redacts a job's message.
    pub redactor: Redactor,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            redactor: Redactor::read(environment),
        }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) watch: Watch,
    pub(crate) redactor: Redactor,
    pub(crate) deferral: Deferral,
    pub(crate) tokens: Arc<Tokens>,
}

impl App {
    /// The database's timeout before a heartbeat is deferred. Longer than for Sentry: jobs can wait, and a stored
    /// heartbeat is effective at once.
    pub const STORE_BUDGET: Duration = Duration::from_secs(2);

    /// The App of a Lambda environment, with a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-heartbeat", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let watch = Watch::new(store.clone());
        let deferral = BusDeferral::configured(config.bus, Self::STORE_BUDGET);
        Ok(Self::new(store, watch, config.redactor, deferral))
    }

    /// An App on an existing store.
    #[must_use]
    pub fn new(store: Store, watch: Watch, redactor: Redactor, deferral: Deferral) -> Self {
        Self { store, watch, redactor, deferral, tokens: Arc::default() }
    }

    /// Flushes security events and closes the pool before the process ends.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

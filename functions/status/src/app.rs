//! What the function needs: its configuration, and the App that is built of it once per process.

use anyhow::Context as _;
use shared::config::{AccessConfig, DatabaseConfig, Environment};
use shared::http::{Exposure, Gate};
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is read.
    pub database: DatabaseConfig,
    /// Who may read it.
    pub access: AccessConfig,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { database: DatabaseConfig::read(environment), access: AccessConfig::read(environment) }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) gate: Gate,
    pub(crate) store: Store,
}

impl App {
    /// The App of a Lambda environment: a pool of its own, open to the world.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-status", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        Ok(Self::new(store, config.access, Exposure::Public))
    }

    /// An App on a store that is there already.
    #[must_use]
    pub fn new(store: Store, access: AccessConfig, exposure: Exposure) -> Self {
        Self { gate: Gate::new(access.read_token, exposure, "READ_TOKEN"), store }
    }

    /// Hangs up politely: the process is about to end.
    pub fn close(&self) {
        self.store.close();
    }
}

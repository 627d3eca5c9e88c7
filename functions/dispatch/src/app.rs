//! What the function needs: its configuration, and the App that is built of it once per process.

use anyhow::Context as _;
use shared::config::{DatabaseConfig, Environment};
use shared::publish::{BusConfig, Publisher};
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database that is swept.
    pub database: DatabaseConfig,
    /// Where events are published.
    pub bus: BusConfig,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { database: DatabaseConfig::read(environment), bus: BusConfig::read(environment) }
    }
}

/// Everything that a sweep needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
}

impl App {
    /// The App of a Lambda environment: a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-dispatch", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        Ok(Self::new(store, publisher))
    }

    /// An App on this store and publisher.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher) -> Self {
        Self { store, publisher }
    }

    /// Closes the connections: the process is about to end.
    pub fn close(&self) {
        self.store.close();
    }
}

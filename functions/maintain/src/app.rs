//! What the function needs: its configuration, and the App that is built of it once per process.

use anyhow::Context as _;
use shared::config::{DatabaseConfig, Environment};
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where rows are deleted.
    pub database: DatabaseConfig,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { database: DatabaseConfig::read(environment) }
    }
}

/// Everything that a run needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
}

impl App {
    /// The App of a Lambda environment: a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: &Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-maintain", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        Ok(Self::new(store))
    }

    /// An App on this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Closes the connections: the process is about to end.
    pub fn close(&self) {
        self.store.close();
    }
}

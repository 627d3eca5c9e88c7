//! Configuration, and the App that is built from it once per process.

use anyhow::Context as _;
use secrecy::SecretString;
use shared::config::{DatabaseConfig, Environment};
use shared::http::Gate;
use shared::security::Watch;
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database to read.
    pub database: DatabaseConfig,
    /// `READ_TOKEN`: the token that readers need.
    pub read_token: Option<SecretString>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { database: DatabaseConfig::read(environment), read_token: environment.token("READ_TOKEN") }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) gate: Gate,
    pub(crate) store: Store,
    pub(crate) watch: Watch,
}

impl App {
    /// The App of a Lambda environment, with a pool of its own, open to the internet.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-status", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let watch = Watch::new(store.clone());
        Ok(Self::new(store, watch, config.read_token))
    }

    /// An App on an existing store.
    #[must_use]
    pub fn new(store: Store, watch: Watch, read_token: Option<SecretString>) -> Self {
        Self { gate: Gate::reading(read_token), store, watch }
    }

    /// Flushes security events and closes the pool before the process ends.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

//! What the function needs: its configuration, and the App that is built of it once per process.

use anyhow::Context as _;
use shared::config::{DatabaseConfig, Environment};
use shared::redact::Redactor;
use shared::security::Watch;
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where signs of life are stored.
    pub database: DatabaseConfig,
    /// What a job's message must not hold.
    pub redactor: Redactor,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { database: DatabaseConfig::read(environment), redactor: Redactor::read(environment) }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) watch: Watch,
    pub(crate) redactor: Redactor,
}

impl App {
    /// The App of a Lambda environment: a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-heartbeat", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let watch = Watch::new(store.clone());
        Ok(Self::new(store, watch, config.redactor))
    }

    /// An App on a store that is there already.
    #[must_use]
    pub fn new(store: Store, watch: Watch, redactor: Redactor) -> Self {
        Self { store, watch, redactor }
    }

    /// Writes down what is left and hangs up politely: the process is about to end.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

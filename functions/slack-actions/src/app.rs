//! What the function needs: its configuration, and the App that is built of it once per process.

use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use shared::config::{DatabaseConfig, Environment};
use shared::publish::{BusConfig, Publisher};
use shared::security::Watch;
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where changes are stored.
    pub database: DatabaseConfig,
    /// Where changes are published.
    pub bus: BusConfig,
    /// `SLACK_SIGNING_SECRET`: verifies Slack's signature; without it the route is closed.
    pub signing_secret: Option<SecretString>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            signing_secret: environment.secret("SLACK_SIGNING_SECRET"),
        }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
    pub(crate) watch: Watch,
    pub(crate) signing_secret: Option<SecretString>,
    /// The time budget of the database.
    pub(crate) patience: Duration,
}

impl App {
    /// Slack waits for three seconds.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// The App of a Lambda environment: a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-slack-actions", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        let watch = Watch::new(store.clone());
        Ok(Self::new(store, publisher, watch, config.signing_secret))
    }

    /// An App on these dependencies.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher, watch: Watch, signing_secret: Option<SecretString>) -> Self {
        Self { store, publisher, watch, signing_secret, patience: Self::PATIENCE }
    }

    /// The same with at least this budget for the database.
    #[must_use]
    pub fn with_store_budget(self, budget: Duration) -> Self {
        Self { patience: self.patience.max(budget), ..self }
    }

    /// Flushes the counters and closes the connections: the process is about to end.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

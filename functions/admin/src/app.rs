//! Configuration, and the App that is built from it once per process.

use anyhow::Context as _;
use secrecy::SecretString;
use shared::config::{DatabaseConfig, Environment};
use shared::http::Gate;
use shared::publish::{BusConfig, Publisher};
use shared::security::Watch;
use shared::store::{PoolSize, Store};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where changes are stored.
    pub database: DatabaseConfig,
    /// The bus to which changes are published.
    pub bus: BusConfig,
    /// `ADMIN_TOKEN`: the token that operators need.
    pub admin_token: Option<SecretString>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            admin_token: environment.token("ADMIN_TOKEN"),
        }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
    pub(crate) watch: Watch,
    pub(crate) gate: Gate,
}

impl App {
    /// The App of a Lambda environment, with a pool of its own, open to the internet.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-admin", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        let watch = Watch::new(store.clone());
        Ok(Self::new(store, publisher, watch, config.admin_token))
    }

    /// An App on existing dependencies.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher, watch: Watch, admin_token: Option<SecretString>) -> Self {
        Self { store, publisher, watch, gate: Gate::changing(admin_token) }
    }

    /// Flushes security events and closes the pool before the process ends.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

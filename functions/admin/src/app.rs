//! What the function needs: its configuration, and the App that is built of it once per process.

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
    /// Who is told of them.
    pub bus: BusConfig,
    /// `ADMIN_TOKEN`: who has it may change things.
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
    /// The App of a Lambda environment: a pool of its own, open to the world.
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

    /// An App with means that are there already.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher, watch: Watch, admin_token: Option<SecretString>) -> Self {
        Self { store, publisher, watch, gate: Gate::changing(admin_token) }
    }

    /// Writes down what is left and hangs up politely: the process is about to end.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

//! What the function needs: its configuration, and the App that is built of it once per process.

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
    /// Where signs of life are stored.
    pub database: DatabaseConfig,
    /// What keeps signs of life while the database is away.
    pub bus: BusConfig,
    /// What a job's message must not hold.
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
    /// How long the database gets before a sign of life is deferred. A job has more patience than Sentry, and what is stored
    /// at once is heard at once.
    pub const STORE_BUDGET: Duration = Duration::from_secs(2);

    /// The App of a Lambda environment: a pool of its own.
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

    /// An App on a store that is there already.
    #[must_use]
    pub fn new(store: Store, watch: Watch, redactor: Redactor, deferral: Deferral) -> Self {
        Self { store, watch, redactor, deferral, tokens: Arc::default() }
    }

    /// Writes down what is left and hangs up politely: the process is about to end.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

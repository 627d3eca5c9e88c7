//! Configuration, and the App that is built from it once per process.

use anyhow::Context as _;
use shared::config::{DatabaseConfig, Environment};
use shared::security::Watch;
use shared::store::{PoolSize, Store};

use crate::signature::PublicKey;

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the stages of emails are stored.
    pub database: DatabaseConfig,
    /// `SENDGRID_WEBHOOK_PUBLIC_KEY`: the key of SendGrid's signatures; without it the route refuses all requests.
    pub public_key: Option<String>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { database: DatabaseConfig::read(environment), public_key: Self::read_key(environment) }
    }

    fn read_key(environment: &mut Environment<'_>) -> Option<String> {
        const NAME: &str = "SENDGRID_WEBHOOK_PUBLIC_KEY";
        let text = environment.optional(NAME)?;
        if let Err(what) = PublicKey::parse(&text) {
            environment.problem(NAME, what);
        }
        Some(text)
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) watch: Watch,
    pub(crate) public_key: Option<PublicKey>,
}

impl App {
    /// The App of a Lambda environment, with a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-email-events", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let watch = Watch::new(store.clone());
        Ok(Self::new(store, watch, config.public_key))
    }

    /// An App on existing dependencies. With an invalid key, the route refuses all requests.
    #[must_use]
    pub fn new(store: Store, watch: Watch, public_key: Option<String>) -> Self {
        let public_key = public_key.and_then(|text| {
            let parsed = PublicKey::parse(&text);
            parsed.map_err(|what| tracing::error!("SENDGRID_WEBHOOK_PUBLIC_KEY: {what}")).ok()
        });
        Self { store, watch, public_key }
    }

    /// Flushes security events and closes the pool before the process ends.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

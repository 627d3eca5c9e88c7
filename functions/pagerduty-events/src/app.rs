//! Configuration, and the App that is built from it once per process.

use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use shared::address::Address;
use shared::config::{DatabaseConfig, Environment};
use shared::publish::{BusConfig, Publisher};
use shared::security::Watch;
use shared::store::{PoolSize, Store};

use crate::alerts::Alerts;

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where changes are stored.
    pub database: DatabaseConfig,
    /// The bus to which changes are published.
    pub bus: BusConfig,
    /// The configuration of `PagerDuty`.
    pub pagerduty: PagerDutyConfig,
}

/// The configuration of `PagerDuty`.
#[derive(Debug, Clone, Default)]
pub struct PagerDutyConfig {
    /// `PAGERDUTY_WEBHOOK_SECRET`: the secret of its signatures; without it the route refuses all requests.
    pub webhook_secret: Option<SecretString>,
    /// `PAGERDUTY_API_TOKEN`: a read-only key of its REST API, to list an incident's alerts.
    pub api_token: Option<SecretString>,
    /// `PAGERDUTY_REST_URL`; none = [`PagerDutyConfig::API`].
    pub api: Option<Address>,
}

impl PagerDutyConfig {
    /// The REST API of accounts outside the EU.
    pub const API: &str = "https://api.pagerduty.com";

    /// Reads the three variables.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        let api = environment.optional("PAGERDUTY_REST_URL").map(|text| Address::parse(&text)).transpose();
        Self {
            webhook_secret: environment.secret("PAGERDUTY_WEBHOOK_SECRET"),
            api_token: environment.secret("PAGERDUTY_API_TOKEN"),
            api: api.unwrap_or_else(|what| {
                environment.problem("PAGERDUTY_REST_URL", what);
                None
            }),
        }
    }
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            pagerduty: PagerDutyConfig::read(environment),
        }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
    pub(crate) watch: Watch,
    pub(crate) webhook_secret: Option<SecretString>,
    /// None: incidents can't be looked up.
    pub(crate) alerts: Option<Alerts>,
    /// The database's timeout.
    pub(crate) timeout: Duration,
}

impl App {
    /// `PagerDuty` waits for five seconds, and retries failed deliveries.
    const TIMEOUT: Duration = Duration::from_secs(2);

    /// The App of a Lambda environment, with a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used, or no HTTP client can be set up.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-pagerduty-events", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        let watch = Watch::new(store.clone());
        Self::new(store, publisher, watch, config.pagerduty)
    }

    /// An App on existing dependencies.
    ///
    /// # Errors
    /// When no HTTP client can be set up.
    pub fn new(store: Store, publisher: Publisher, watch: Watch, config: PagerDutyConfig) -> anyhow::Result<Self> {
        let PagerDutyConfig { webhook_secret, api_token, api } = config;
        let api = api.unwrap_or(Address::of_vendor(PagerDutyConfig::API));
        let alerts = api_token.map(|token| Alerts::new(api, token)).transpose()?;
        Ok(Self { store, publisher, watch, webhook_secret, alerts, timeout: Self::TIMEOUT })
    }

    /// The same App with at least this timeout for the database and for `PagerDuty`'s answers.
    #[must_use]
    pub fn with_store_budget(mut self, budget: Duration) -> Self {
        self.timeout = self.timeout.max(budget);
        if let Some(alerts) = &mut self.alerts {
            alerts.timeout = alerts.timeout.max(budget);
        }
        self
    }

    /// Flushes security events and closes the pool before the process ends.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

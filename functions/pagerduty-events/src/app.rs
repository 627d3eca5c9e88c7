//! What the function needs: its configuration, and the App that is built of it once per process.

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
    /// Who is told of them.
    pub bus: BusConfig,
    /// What is known of `PagerDuty`.
    pub pagerduty: PagerDutyConfig,
}

/// What is known of `PagerDuty`.
#[derive(Debug, Clone, Default)]
pub struct PagerDutyConfig {
    /// `PAGERDUTY_WEBHOOK_SECRET`: what it signs with; without it the route is closed.
    pub webhook_secret: Option<SecretString>,
    /// `PAGERDUTY_API_TOKEN`: with what the alerts of an incident are listed there (a read-only key of its REST API).
    pub api_token: Option<SecretString>,
    /// `PAGERDUTY_REST_URL`; none = [`PagerDutyConfig::API`].
    pub api: Option<Address>,
}

impl PagerDutyConfig {
    /// Where its REST API is, but for accounts of the EU.
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
    /// None: no incident is asked about.
    pub(crate) alerts: Option<Alerts>,
    /// How long the database gets.
    pub(crate) patience: Duration,
}

impl App {
    /// `PagerDuty` waits for five seconds, and sends again what failed.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// The App of a Lambda environment: a pool of its own.
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

    /// An App with means that are there already.
    ///
    /// # Errors
    /// When no HTTP client can be set up.
    pub fn new(store: Store, publisher: Publisher, watch: Watch, config: PagerDutyConfig) -> anyhow::Result<Self> {
        let PagerDutyConfig { webhook_secret, api_token, api } = config;
        let api = api.unwrap_or(Address::of_vendor(PagerDutyConfig::API));
        let alerts = api_token.map(|token| Alerts::new(api, token)).transpose()?;
        Ok(Self { store, publisher, watch, webhook_secret, alerts, patience: Self::PATIENCE })
    }

    /// The same with at least this time for the database, and for `PagerDuty`'s answers.
    #[must_use]
    pub fn with_store_budget(mut self, budget: Duration) -> Self {
        self.patience = self.patience.max(budget);
        if let Some(alerts) = &mut self.alerts {
            alerts.patience = alerts.patience.max(budget);
        }
        self
    }

    /// Writes down what is left and hangs up politely: the process is about to end.
    pub async fn close(&self) {
        self.watch.flush().await;
        self.store.close();
    }
}

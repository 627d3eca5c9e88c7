//! Configuration, and the App that is built from it once per process.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::Utc;
use shared::config::{DatabaseConfig, Environment, Secrets};
use shared::model::ServiceSpec;
use shared::publish::{BusConfig, Publisher};
use shared::redact::Redactor;
use shared::store::services::Origin;
use shared::store::{PoolSize, Store, services};
use tokio::sync::OnceCell;

use crate::check::{Checker, CheckerConfig};
use crate::defaults;
use crate::net::guard::Cidr;

/// Where checks run from unless AWS says otherwise.
const LOCAL_REGION: &str = "local";

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where services are read and results stored.
    pub database: DatabaseConfig,
    /// The bus to which changes are published.
    pub bus: BusConfig,
    /// What the probe itself needs.
    pub probe: ProbeConfig,
}

/// What the probe needs beside the database.
#[derive(Debug, Clone)]
pub struct ProbeConfig {
    /// The three default services, as far as their addresses are set.
    pub default_services: Vec<ServiceSpec>,
    /// `AWS_REGION`: where the checks run from.
    pub region: String,
    /// What may be checked (`PROBE_ALLOW_CIDRS`), and the secrets that are sent along (`PROBE_SECRET_…`).
    pub checker: CheckerConfig,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            probe: ProbeConfig::read(environment),
        }
    }
}

impl ProbeConfig {
    /// Reads `BACKEND_API_URL`, `ADMIN_CONSOLE_URL`, `AWS_REGION`, `PROBE_ALLOW_CIDRS` and `REDACT_PATTERNS`.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            default_services: defaults::read(environment),
            region: environment.optional("AWS_REGION").unwrap_or_else(|| LOCAL_REGION.to_owned()),
            checker: CheckerConfig::new(allowed(environment), Secrets::of_process(), Redactor::read(environment)),
        }
    }

    /// For a developer's machine: allows checks of the loopback interface, unless `PROBE_ALLOW_CIDRS` is set.
    #[must_use]
    pub fn with_loopback(mut self) -> Self {
        if self.checker.allow.is_empty() {
            self.checker.allow = Cidr::loopback();
        }
        self
    }
}

/// `PROBE_ALLOW_CIDRS`: address ranges, separated by commas or spaces.
fn allowed(environment: &mut Environment<'_>) -> Vec<Cidr> {
    const NAME: &str = "PROBE_ALLOW_CIDRS";
    let text = environment.optional(NAME).unwrap_or_default();
    let words = text.split([',', ' ', '\n']).filter(|word| !word.is_empty());
    let mut allowed = Vec::new();
    for word in words {
        match Cidr::parse(word) {
            Ok(cidr) => allowed.push(cidr),
            Err(error) => environment.problem(NAME, error),
        }
    }
    allowed
}

/// Everything that a round needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
    pub(crate) checker: Arc<Checker>,
    pub(crate) region: String,
    default_services: Arc<[ServiceSpec]>,
    defaults_stored: Arc<OnceCell<()>>,
}

impl App {
    /// The App of a Lambda environment, with a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-probe", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        Self::new(store, publisher, config.probe)
    }

    /// An App on an existing store and publisher.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(store: Store, publisher: Publisher, config: ProbeConfig) -> anyhow::Result<Self> {
        Ok(Self {
            store,
            publisher,
            checker: Arc::new(Checker::new(config.checker).context("set up the checks")?),
            region: config.region,
            default_services: config.default_services.into(),
            defaults_stored: Arc::default(),
        })
    }

    /// Stores the default services once per process. When the database is unavailable, the next call retries.
    ///
    /// # Errors
    /// When the database can't be used.
    pub async fn ensure_default_services(&self) -> anyhow::Result<()> {
        if self.default_services.is_empty() {
            return Ok(());
        }
        let specs = &self.default_services;
        let now = Utc::now();
        let store = || async move {
            self.store
                .run(|client| async move { services::upsert(&client, specs, Origin::Environment, now).await })
                .await
                .context("store the default services")?;
            anyhow::Ok(())
        };
        self.defaults_stored.get_or_try_init(store).await?;
        Ok(())
    }

    /// Closes the connection pool before the process ends.
    pub fn close(&self) {
        self.store.close();
    }
}

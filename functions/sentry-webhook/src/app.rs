//! Configuration, and the App that is built from it once per process.

use std::sync::Arc;

use anyhow::Context as _;
use secrecy::SecretString;
use shared::config::{DatabaseConfig, Environment};
use shared::counters::Counters;
use shared::defer::bus::BusDeferral;
use shared::intake::{Intake, IntakeConfig};
use shared::publish::{BusConfig, Publisher};
use shared::security::Watch;
use shared::store::{PoolSize, Store};
use url::Url;

use crate::legacy::RateLimit;

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where reports are stored.
    pub database: DatabaseConfig,
    /// The bus for events of new incidents, and for deliveries that are deferred while the database is unavailable.
    pub bus: BusConfig,
    /// How reports are recorded.
    pub intake: IntakeConfig,
    /// The secrets of Sentry's webhooks.
    pub sentry: SentryConfig,
}

/// The configuration of Sentry. A route or kind of webhook without its secret is refused.
#[derive(Debug, Clone, Default)]
pub struct SentryConfig {
    /// `SENTRY_CLIENT_SECRET`: the integration's secret.
    pub client_secret: Option<SecretString>,
    /// `SENTRY_SERVICE_HOOK_SECRET`: a service hook's secret.
    pub service_hook_secret: Option<SecretString>,
    /// `SENTRY_LEGACY_SECRET`: the secret in the path for the older `WebHooks` plugin.
    pub legacy_secret: Option<SecretString>,
    /// The project number in `SENTRY_DSN`, where our own errors are reported: deliveries of that project are ignored,
    /// to avoid a loop.
    pub own_project: Option<String>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            intake: IntakeConfig::read(environment),
            sentry: SentryConfig::read(environment),
        }
    }
}

impl SentryConfig {
    /// Reads the three secrets and `SENTRY_DSN`.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            client_secret: environment.secret("SENTRY_CLIENT_SECRET"),
            service_hook_secret: environment.secret("SENTRY_SERVICE_HOOK_SECRET"),
            legacy_secret: environment.token("SENTRY_LEGACY_SECRET"),
            own_project: own_project(environment),
        }
    }
}

fn own_project(environment: &mut Environment<'_>) -> Option<String> {
    let dsn = environment.optional("SENTRY_DSN")?;
    let number = project_of_dsn(dsn.trim());
    if number.is_none() {
        environment.problem("SENTRY_DSN", "it ends in no project number (https://KEY@HOST/NUMBER)");
    }
    number
}

/// The number at the end of a DSN.
fn project_of_dsn(dsn: &str) -> Option<String> {
    let url = Url::parse(dsn).ok()?;
    let number = url.path_segments()?.rfind(|segment| !segment.is_empty())?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.to_owned())
}

/// What the function depends on.
#[derive(Clone)]
pub struct Dependencies {
    /// Records errors.
    pub intake: Intake,
    /// Stores steps.
    pub store: Store,
    /// Publishes their events.
    pub publisher: Publisher,
    /// Counts deliveries.
    pub counters: Counters,
    /// Records refused requests.
    pub watch: Watch,
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) deps: Dependencies,
    pub(crate) config: Arc<SentryConfig>,
    pub(crate) legacy_limit: Arc<RateLimit>,
}

impl App {
    /// The App of a Lambda environment, with a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-sentry-webhook", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        let intake = Intake::new(store.clone(), publisher.clone(), config.intake);
        let deps = Dependencies {
            intake: BusDeferral::attach(intake, &publisher),
            publisher,
            counters: Counters::new(store.clone()),
            watch: Watch::new(store.clone()),
            store,
        };
        Ok(Self::new(deps, config.sentry))
    }

    /// Loads what the first request would wait for.
    pub async fn warm_up(&self) {
        self.deps.intake.refresh_settings().await;
    }

    /// An App on existing dependencies.
    #[must_use]
    pub fn new(deps: Dependencies, config: SentryConfig) -> Self {
        Self { deps, config: Arc::new(config), legacy_limit: Arc::default() }
    }

    /// Whether this is the project of our own errors.
    pub(crate) fn is_own(&self, project: Option<String>) -> bool {
        project.is_some() && project == self.config.own_project
    }

    /// Flushes counters and closes the pool before the process ends.
    pub async fn close(&self) {
        tokio::join!(self.deps.counters.flush(), self.deps.watch.flush());
        self.deps.intake.close();
    }
}

#[cfg(test)]
mod tests {
    use super::project_of_dsn;

    #[test]
    fn a_dsn_ends_in_its_project_s_number() {
        for (dsn, number) in [
            ("https://0123abcd@o17.ingest.sentry.io/4505", Some("4505")),
            ("http://key:secret@sentry.example.com:9000/prefix/7/", Some("7")),
            ("https://key@sentry.io/", None),
            ("https://key@sentry.io/shop", None),
            ("4505", None),
        ] {
            assert_eq!(project_of_dsn(dsn).as_deref(), number, "{dsn}");
        }
    }
}

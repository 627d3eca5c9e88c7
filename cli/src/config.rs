//! The configuration of the CLI, read from environment variables.

use notify::app::NotifyConfig;
use probe::app::ProbeConfig;
use secrecy::SecretString;
use sentry_webhook::app::SentryConfig;
use shared::config::{DatabaseConfig, Environment, Statements};
use shared::dsn::DsnSecret;
use shared::intake::IntakeConfig;
use shared::publish::BusConfig;

use local::stack::{AccessConfig, VendorsConfig};

/// The default port of `start`.
pub const DEFAULT_PORT: u16 = 8080;

/// The settings of the CLI.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL`; none = the embedded server.
    pub database_url: Option<SecretString>,
    /// `DIRECT_URL`: for migrations.
    pub direct_url: Option<SecretString>,
    /// `DATABASE_CA`.
    pub database_ca: Option<String>,
    /// `DATABASE_PREPARED_STATEMENTS`.
    pub statements: Statements,
    /// Who may call the local stack.
    pub access: AccessConfig,
    /// Where events are published.
    pub bus: BusConfig,
    /// The settings of the intake.
    pub intake: IntakeConfig,
    /// The settings of the Sentry webhook.
    pub sentry: SentryConfig,
    /// `DSN_SECRET`: derives DSN keys; none = the data directory's own.
    pub dsn_secret: Option<DsnSecret>,
    /// The settings of the probe.
    pub probe: ProbeConfig,
    /// The notification channels.
    pub notify: NotifyConfig,
    /// The secrets with which vendors sign their webhooks.
    pub vendors: VendorsConfig,
    /// `PORT`.
    pub port: u16,
    /// `WATCHKEEPER_URL`: the server that commands talk to.
    pub url: Option<String>,
    /// `WATCHKEEPER_TOKEN`: the bearer token for it.
    pub token: Option<SecretString>,
    /// `USER`: the default author of actions.
    pub user: Option<String>,
    /// `RUST_LOG`.
    pub rust_log: Option<String>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database_url: environment.secret("DATABASE_URL"),
            direct_url: environment.secret("DIRECT_URL"),
            database_ca: environment.optional("DATABASE_CA"),
            statements: Statements::read(environment),
            access: AccessConfig::read(environment),
            bus: BusConfig::read(environment),
            intake: IntakeConfig::read(environment),
            sentry: SentryConfig::read(environment),
            dsn_secret: DsnSecret::read(environment),
            probe: ProbeConfig::read(environment).with_loopback(),
            notify: NotifyConfig::read(environment),
            vendors: VendorsConfig::read(environment),
            port: port(environment),
            url: environment.optional("WATCHKEEPER_URL"),
            token: environment.secret("WATCHKEEPER_TOKEN"),
            user: environment.optional("USER"),
            rust_log: environment.optional("RUST_LOG"),
        }
    }

    /// The database of this URL, with the configured CA.
    #[must_use]
    pub fn database(&self, url: SecretString) -> DatabaseConfig {
        DatabaseConfig { url, ca: self.database_ca.clone(), statements: self.statements }
    }

    /// The author of an action: this name, else `USER`.
    #[must_use]
    pub fn person<'a>(&'a self, named: Option<&'a str>) -> &'a str {
        named.or(self.user.as_deref()).unwrap_or("cli")
    }
}

fn port(environment: &mut Environment<'_>) -> u16 {
    let Some(text) = environment.optional("PORT") else { return DEFAULT_PORT };
    text.trim().parse().unwrap_or_else(|_| {
        environment.problem("PORT", format!("{text:?} is not a port"));
        DEFAULT_PORT
    })
}

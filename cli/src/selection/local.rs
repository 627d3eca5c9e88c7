//! The stack that runs in a data directory, read from its `env` file. The file of a killed stack is ignored: another
//! process may have its port by now.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::anyhow;
use local::data_dir;
use secrecy::SecretString;
use shared::dsn::DsnSecret;
use shared::store::ConnectionSettings;

use super::server::{ServerUrl, Tokens};
use crate::config::Config;

/// A running stack.
pub(super) struct LocalStack {
    pub(super) url: ServerUrl,
    pub(super) database_url: SecretString,
    pub(super) dsn_secret: DsnSecret,
    pub(super) tokens: Tokens,
}

/// Why no running stack was found.
pub(super) enum Missing {
    /// There is none.
    NotRunning,
    /// Its file (or its lock) can't be read, or lacks something.
    Unreadable(String),
}

impl LocalStack {
    pub(super) fn read(folder: &Path) -> Result<Self, Missing> {
        match data_dir::is_taken(folder) {
            Ok(true) => {}
            Ok(false) => return Err(Missing::NotRunning),
            Err(error) => return Err(Missing::Unreadable(format!("its lock can't be read: {error}"))),
        }
        let text = match fs::read_to_string(data_dir::env_file(folder)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Missing::NotRunning),
            Err(error) => return Err(Missing::Unreadable(error.to_string())),
        };
        let find = |name: &str| data_dir::value(&text, name).filter(|value| !value.is_empty());
        let get = |name: &str| find(name).ok_or_else(|| Missing::Unreadable(format!("{name} is missing")));
        let unusable = |name: &str| Missing::Unreadable(format!("its {name} can't be used"));
        Ok(Self {
            url: ServerUrl::parse(&get("WATCHKEEPER_URL")?).map_err(|_| unusable("WATCHKEEPER_URL"))?,
            database_url: get("DATABASE_URL")?.into(),
            dsn_secret: DsnSecret::new(get(DsnSecret::VARIABLE)?.into()).map_err(|_| unusable(DsnSecret::VARIABLE))?,
            tokens: Tokens::read(|name| find(name).map(SecretString::from)),
        })
    }

    /// Whether it uses this database.
    pub(super) fn uses(&self, database: &ConnectionSettings, config: &Config) -> bool {
        let own = ConnectionSettings::parse(&config.database(self.database_url.clone()), "watchkeeper-cli");
        own.is_ok_and(|own| own.is_same_database(database))
    }
}

impl Missing {
    /// The error message; `or_set` names the variables that can be set instead.
    pub(super) fn error(&self, folder: &Path, or_set: &str) -> anyhow::Error {
        match self {
            Self::NotRunning => {
                // As an absolute path: the default depends on the current directory.
                let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
                anyhow!(
                    "no stack is running in {}: run `watchkeeper start` first, name the directory of a running one with \
                     --data-dir, or set {or_set}",
                    folder.display()
                )
            }
            Self::Unreadable(why) => anyhow!("{} can't be used: {why}", data_dir::env_file(folder).display()),
        }
    }
}

/// The tokens that a stack in this directory has generated.
pub(super) fn made_tokens(folder: &Path) -> Vec<String> {
    let read = |name| fs::read_to_string(folder.join(name)).ok();
    let texts = ["read_token", "admin_token"].into_iter().filter_map(read);
    texts.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

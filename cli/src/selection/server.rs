//! The address of a Watchkeeper's server, and the tokens for it.

use std::fmt;

use local::stack::AccessConfig;
use reqwest::Url;
use secrecy::SecretString;
use shared::address::is_this_machine;

use crate::output::Misuse;

/// Why a command calls the server; selects the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Report errors.
    Report,
    /// Read.
    Read,
    /// Change.
    Change,
}

impl Purpose {
    /// The token for it, if one is configured.
    pub(super) fn token_of(self, access: &AccessConfig) -> Option<&SecretString> {
        match self {
            Self::Report => access.ingest_key.as_ref(),
            Self::Read => access.read_token.as_ref(),
            Self::Change => access.admin_token.as_ref(),
        }
    }
}

/// The tokens of a running stack.
pub(super) struct Tokens(AccessConfig);

impl Tokens {
    pub(super) fn read(find: impl Fn(&str) -> Option<SecretString>) -> Self {
        Self(AccessConfig {
            ingest_key: find("INGEST_API_KEY"),
            read_token: find("READ_TOKEN"),
            admin_token: find("ADMIN_TOKEN"),
            ..AccessConfig::default()
        })
    }

    pub(super) fn of(&self, purpose: Purpose) -> Option<&SecretString> {
        purpose.token_of(&self.0)
    }
}

/// The base URL of a server: scheme, host, port and path prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// Reads `WATCHKEEPER_URL`.
    ///
    /// # Errors
    /// [`Misuse`] when it is not an http(s) URL, or has a user, a query or a fragment.
    pub fn parse(text: &str) -> Result<Self, Misuse> {
        let refuse = |what: &str| Misuse(format!("WATCHKEEPER_URL {what}"));
        let is_not_one = || refuse("must be an address such as https://watchkeeper.example.com");
        let mut url = Url::parse(text.trim()).map_err(|_| is_not_one())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(is_not_one());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must not contain a user or a password: set the token with WATCHKEEPER_TOKEN"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("must end with its path: a ? or # has no meaning there"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// The address of a route.
    #[must_use]
    pub fn route(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_this_machine(&self) -> bool {
        self.0.host().is_some_and(|host| is_this_machine(&host))
    }

    /// Whether a token may be sent there: encrypted, or not over a network.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        self.0.scheme() == "https" || self.is_this_machine()
    }

    /// Whether both are the same server; all names of this machine are equal.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let (one, two) = (&self.0, &other.0);
        let same_host = one.host() == two.host() || (self.is_this_machine() && other.is_this_machine());
        same_host
            && one.scheme() == two.scheme()
            && one.port_or_known_default() == two.port_or_known_default()
            && one.path() == two.path()
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

//! The process's environment, read once at the start: the only module that uses `std::env`.
//!
//! Each program composes its configuration from the groups here. All missing or invalid variables are reported
//! together, by name. An empty variable counts as not set.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;
type SharedLookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The source of the values, and the problems found so far.
pub struct Environment<'a> {
    lookup: Box<Lookup<'a>>,
    problems: Vec<String>,
}

/// What is missing or invalid, one line per variable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not usable:\n  {}", .0.join("\n  "))]
pub struct ConfigError(Vec<String>);

impl<'a> Environment<'a> {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Values from another source, such as a test's map.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + 'a) -> Self {
        Self { lookup: Box::new(lookup), problems: Vec::new() }
    }

    /// Reads a whole configuration.
    ///
    /// # Errors
    /// Everything that is missing or invalid, together.
    pub fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> Result<T, ConfigError> {
        let config = read(&mut self);
        if self.problems.is_empty() { Ok(config) } else { Err(ConfigError(self.problems)) }
    }

    /// The variable's value, if it has one.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// The variable's value as a secret, if it has one.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.optional(name).map(|value| SecretString::from(value.trim()))
    }

    /// The variable's value as a token, which callers present verbatim, if it has one. A token that can be guessed, or
    /// that no header can carry, is a problem.
    pub fn token(&mut self, name: &str) -> Option<SecretString> {
        let token = self.secret(name)?;
        match token_problem(token.expose_secret()) {
            None => Some(token),
            Some(what) => {
                self.problem(name, format!("{what}; make one with `openssl rand -hex 32`"));
                None
            }
        }
    }

    /// The variable's value; its absence is a problem.
    pub fn required(&mut self, name: &str, meaning: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is not set ({meaning})"));
            String::new()
        })
    }

    /// The variable's value as a time of 10 ms to 5 s, in milliseconds; the default where it has none.
    pub fn milliseconds(&mut self, name: &str, default: Duration) -> Duration {
        let Some(text) = self.optional(name) else { return default };
        match text.trim().parse() {
            Ok(milliseconds @ 10..=5_000) => Duration::from_millis(milliseconds),
            _ => {
                self.problem(name, format!("{text:?} is not a number from 10 to 5000"));
                default
            }
        }
    }

    /// Records an invalid value.
    pub fn problem(&mut self, name: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{name}: {what}"));
    }
}

/// The shortest token: even in hexadecimal digits it has 64 bits.
pub const TOKEN_CHARS: usize = 16;

/// Why this is not a valid token, without the token itself.
#[must_use]
pub fn token_problem(token: &str) -> Option<String> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(
            "a token is made of ASCII letters, digits and punctuation, without spaces: no header carries others".into(),
        );
    }
    (token.len() < TOKEN_CHARS)
        .then(|| format!("a token has at least {TOKEN_CHARS} characters, and this one has {}", token.len()))
}

/// Secrets looked up by name at each use, such as those in a check's request. Cheap to clone; stores none of them.
#[derive(Clone)]
pub struct Secrets {
    lookup: Arc<SharedLookup>,
}

impl Secrets {
    /// The secrets in the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The secrets of another source, such as a test's map.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup) }
    }

    /// The variable's value, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SecretString> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty()).map(|value| SecretString::from(value.trim()))
    }
}

impl Default for Secrets {
    /// No secrets.
    fn default() -> Self {
        Self::from_lookup(|_| None)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets")
    }
}

/// How to connect to Postgres.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`: the server, usually the transaction pooler.
    pub url: SecretString,
    /// `DATABASE_CA`: the certificate authorities of the server, as PEM text or the path of a PEM file.
    pub ca: Option<String>,
    /// `DATABASE_PREPARED_STATEMENTS`: whether the most frequent statement may be prepared.
    pub statements: Statements,
}

/// Whether statements may be prepared by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statements {
    /// Safe through any pooler.
    #[default]
    Unnamed,
    /// For a connection to one backend for its whole life. The connection string does not show that: behind a
    /// transaction pooler another client's statement of the same name would be run.
    Prepared,
}

impl DatabaseConfig {
    /// A server with a publicly signed certificate.
    #[must_use]
    pub fn at(url: SecretString) -> Self {
        Self { url, ca: None, statements: Statements::Unnamed }
    }

    /// Reads `DATABASE_URL`, `DATABASE_CA` and `DATABASE_PREPARED_STATEMENTS`.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        let url = environment.required("DATABASE_URL", "the Postgres connection string");
        Self {
            url: SecretString::from(url.trim()),
            ca: environment.optional("DATABASE_CA"),
            statements: Statements::read(environment),
        }
    }
}

impl Statements {
    /// Reads `DATABASE_PREPARED_STATEMENTS` (`true` or `false`).
    pub fn read(environment: &mut Environment<'_>) -> Self {
        const NAME: &str = "DATABASE_PREPARED_STATEMENTS";
        match environment.optional(NAME).as_deref().map(str::trim) {
            None | Some("false") => Self::Unnamed,
            Some("true") => Self::Prepared,
            Some(_) => {
                environment.problem(NAME, "must be true or false");
                Self::Unnamed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_reported_at_once_by_name() {
        let result = Environment::from_lookup(|_| None).read(|environment| {
            let _ = DatabaseConfig::read(environment);
            environment.problem("PORT", "\"x\" is not a port");
        });
        let message = result.unwrap_err().to_string();
        assert!(message.contains("DATABASE_URL is not set") && message.contains("PORT: "), "{message}");
    }

    #[test]
    fn invalid_tokens_are_refused_together_without_being_repeated() {
        let values = [
            ("SHORT", Some("fifteen-letters")),
            ("PADDED", Some("  fifteen-letters \n")),
            ("SPACES", Some("sixteen characters")),
            ("ACCENTS", Some("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}")),
            ("LINES", Some("sixteen-\ncharacters")),
        ];
        let lookup = |name: &str| values.iter().find(|(known, _)| *known == name)?.1.map(str::to_owned);
        let result = Environment::from_lookup(lookup)
            .read(|environment| values.iter().filter_map(|(name, _)| environment.token(name)).count());
        let message = result.unwrap_err().to_string();
        assert!(values.iter().all(|(name, _)| message.contains(&format!("{name}: "))), "{message}");
        assert!(message.contains("at least 16") && message.contains("openssl rand -hex 32"), "{message}");
        assert!(!message.contains("fifteen-letters") && !message.contains("sixteen"), "{message}");
        let good = Environment::from_lookup(|_| Some(" sixteen-letters!\n".to_owned()));
        let token = good.read(|environment| environment.token("READ_TOKEN")).unwrap();
        assert_eq!(token.unwrap().expose_secret(), "sixteen-letters!");
        let unset = Environment::from_lookup(|_| Some(String::new()));
        assert!(unset.read(|environment| environment.token("READ_TOKEN")).unwrap().is_none());
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let environment = Environment::from_lookup(|_| Some("  ".to_owned()));
        assert_eq!(environment.optional("READ_TOKEN"), None);
    }
}

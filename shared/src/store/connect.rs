//! Parses connection strings, with our own rules for TLS: encrypted and verified, except on a socket or the loopback
//! interface, or if explicitly opted out.

mod identity;
mod options;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use crate::config::DatabaseConfig;
use crate::tls::Trust;
use options::Options;

/// The pooler between us and Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// None, or a session pooler: a connection is one backend.
    Session,
    /// A transaction pooler: no session state, no start-up options.
    Transaction,
}

/// Why a connection string can't be used. Never shows the string, which contains a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Not `postgresql://…`.
    #[error("not a connection string of the form postgresql://user:password@host:port/database")]
    NotAUrl,
    /// The password contains a question mark, where options would begin.
    #[error("a ? in the connection string's password must be written %3F")]
    UnescapedPassword,
    /// The driver can't read it.
    #[error("the connection string can't be read: {0}")]
    Malformed(String),
    /// An unknown `sslmode`.
    #[error("sslmode={0} is not known; use verify-full, require, no-verify, or disable for a local server")]
    UnknownSslMode(String),
    /// Unencrypted over a network.
    #[error("sslmode=disable is only for a socket or the loopback interface, not for {0}")]
    UnencryptedNetwork(String),
    /// `DATABASE_CA` is no PEM text.
    #[error("DATABASE_CA contains no usable certificate (PEM text, or the path of a PEM file, is expected)")]
    UnusableCa,
    /// `DATABASE_CA` names a file that can't be read.
    #[error("DATABASE_CA: {path} can't be read: {reason}")]
    UnreadableCa {
        /// The file.
        path: String,
        /// The system's error.
        reason: String,
    },
}

/// How to connect: what a connection string means under our rules.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// For the driver; contains the password.
    pub(crate) driver: tokio_postgres::Config,
    /// None = no TLS.
    pub(crate) trust: Option<Trust>,
    /// The pooler.
    pub pooling: Pooling,
    /// Warnings for the operator about the string.
    pub warnings: Vec<String>,
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// A host's name or address, and its port.
    Tcp(String, u16),
    /// A socket of this machine.
    Socket(PathBuf),
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(formatter, "{host}:{port}"),
            Self::Socket(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// Where Supabase's transaction pooler listens.
const TRANSACTION_POOLER_PORT: u16 = 6543;

impl ConnectionSettings {
    /// The timeout of a connection attempt.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
    /// The timeout of the connection, TLS and the login together.
    const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

    /// Reads the connection string.
    ///
    /// # Errors
    /// When it is malformed, or asks for less protection than its host needs.
    pub fn parse(config: &DatabaseConfig, application_name: &str) -> Result<Self, ConnectError> {
        let url = config.url.expose_secret();
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err(ConnectError::NotAUrl);
        }
        if url.split_once('?').is_some_and(|(base, query)| !base.contains('@') && query.contains('@')) {
            return Err(ConnectError::UnescapedPassword);
        }
        let options = Options::split(url);
        let mut driver = tokio_postgres::Config::from_str(&options.url_for_driver)
            .map_err(|error| ConnectError::Malformed(super::chain(&error)))?;
        if driver.get_hosts().is_empty() {
            return Err(ConnectError::NotAUrl);
        }
        let trust = trust_of(options.sslmode.as_deref(), &driver, config.ca.as_deref())?;
        let mut warnings = options.warnings;
        if trust == Some(Trust::AnyCertificate) {
            warnings.push("sslmode=no-verify: a man in the middle can read and change everything".into());
        }
        driver.ssl_mode(if trust.is_some() { SslMode::Require } else { SslMode::Disable });
        if driver.get_application_name().is_none() {
            driver.application_name(application_name);
        }
        if driver.get_connect_timeout().is_none() {
            driver.connect_timeout(Self::CONNECT_TIMEOUT);
        }
        let pooling = if options.says_pgbouncer || driver.get_ports().contains(&TRANSACTION_POOLER_PORT) {
            Pooling::Transaction
        } else {
            Pooling::Session
        };
        Ok(Self { driver, trust, pooling, warnings })
    }

    /// Sets the server's statement timeout; not through a pooler, which refuses start-up options.
    pub(crate) fn limit_statements(&mut self, limit: Duration) {
        let behind_a_pooler = self.pooling == Pooling::Transaction
            || self
                .driver
                .get_hosts()
                .iter()
                .any(|host| matches!(host, Host::Tcp(name) if name.ends_with(".pooler.supabase.com")));
        if behind_a_pooler {
            return;
        }
        let own = format!("-c statement_timeout={}", limit.as_millis());
        let options = match self.driver.get_options() {
            Some(given) => format!("{own} {given}"),
            None => own,
        };
        self.driver.options(options);
    }

    /// One connection of its own, outside of any pool: for migrations and maintenance.
    ///
    /// # Errors
    /// When the server can't be reached or refuses us.
    pub async fn connect(&self) -> Result<tokio_postgres::Client, StoreError> {
        // The driver's own timeout covers only the TCP connection; a server may accept it and then not answer.
        tokio::time::timeout(Self::HANDSHAKE_TIMEOUT, self.connect_untimed())
            .await
            .unwrap_or(Err(StoreError::Timeout(Self::HANDSHAKE_TIMEOUT)))
    }

    async fn connect_untimed(&self) -> Result<tokio_postgres::Client, StoreError> {
        match &self.trust {
            None => Ok(spawned(self.driver.connect(NoTls).await?)),
            Some(trust) => {
                let tls = crate::tls::client_config(trust).map_err(StoreError::internal)?;
                Ok(spawned(self.driver.connect(MakeRustlsConnect::new(tls)).await?))
            }
        }
    }

    /// Logs in over a stream that is connected to this server. Has no timeout of its own.
    ///
    /// # Errors
    /// When the server refuses us or closes the connection.
    pub async fn log_in_over<S>(&self, stream: S, host: &str) -> Result<tokio_postgres::Client, StoreError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match &self.trust {
            None => Ok(spawned(self.driver.connect_raw(stream, NoTls).await?)),
            Some(trust) => {
                let tls = crate::tls::client_config(trust).map_err(StoreError::internal)?;
                let tls = MakeTlsConnect::<S>::make_tls_connect(&mut MakeRustlsConnect::new(tls), host)
                    .map_err(|error| StoreError::Internal(error.into()))?;
                Ok(spawned(self.driver.connect_raw(stream, tls).await?))
            }
        }
    }

    /// The servers' addresses, in the order of the connection string.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerAddress> {
        let ports = self.driver.get_ports();
        let port = |index| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let of = |(index, host): (usize, &Host)| match host {
            Host::Tcp(name) => ServerAddress::Tcp(name.clone(), port(index)),
            #[cfg(unix)]
            Host::Unix(folder) => ServerAddress::Socket(folder.join(format!(".s.PGSQL.{}", port(index)))),
        };
        self.driver.get_hosts().iter().enumerate().map(of).collect()
    }

    /// The hosts and ports, for a message (no user, no password).
    #[must_use]
    pub fn place(&self) -> String {
        let places: Vec<String> = self.servers().iter().map(ServerAddress::to_string).collect();
        places.join(",")
    }
}

/// Runs the connection in the background; it ends with the client.
fn spawned<S, T>((client, connection): (tokio_postgres::Client, Connection<S, T>)) -> tokio_postgres::Client
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %super::chain(&error), "connection ended");
        }
    });
    client
}

fn trust_of(
    sslmode: Option<&str>,
    driver: &tokio_postgres::Config,
    ca: Option<&str>,
) -> Result<Option<Trust>, ConnectError> {
    let remote = driver.get_hosts().iter().find(|host| !is_local(host));
    let only_sockets = driver.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)));
    match sslmode {
        _ if only_sockets => Ok(None),
        Some("disable") => match remote {
            Some(Host::Tcp(name)) => Err(ConnectError::UnencryptedNetwork(name.clone())),
            _ => Ok(None),
        },
        Some("no-verify") => Ok(Some(Trust::AnyCertificate)),
        None | Some("" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full") => match ca {
            Some(ca) => {
                let trust = Trust::Only(read_pem(ca)?);
                crate::tls::client_config(&trust).map_err(|_| ConnectError::UnusableCa)?;
                Ok(Some(trust))
            }
            None => Ok(Some(Trust::PublicRoots)),
        },
        Some(other) => Err(ConnectError::UnknownSslMode(other.to_owned())),
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn read_pem(ca: &str) -> Result<String, ConnectError> {
    if ca.contains("-----BEGIN") {
        // An environment variable often has the line ends of a PEM as the two characters \n.
        return Ok(ca.replace("\\n", "\n"));
    }
    std::fs::read_to_string(Path::new(ca))
        .map_err(|error| ConnectError::UnreadableCa { path: ca.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn parse(url: &str) -> Result<ConnectionSettings, ConnectError> {
        let config = DatabaseConfig::at(SecretString::from(url));
        ConnectionSettings::parse(&config, "test")
    }

    #[test]
    fn a_network_is_always_encrypted_and_verified() {
        for mode in ["", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca", "?sslmode=verify-full"] {
            let settings = parse(&format!("postgresql://u:p@db.example.com/app{mode}")).unwrap();
            assert_eq!(settings.trust, Some(Trust::PublicRoots), "{mode}");
            assert_eq!(settings.driver.get_ssl_mode(), SslMode::Require);
        }
    }

    #[test]
    fn disable_is_for_the_same_machine_only() {
        for host in ["localhost", "127.0.0.1", "[::1]", "%2Ftmp%2Fsocket"] {
            let settings = parse(&format!("postgresql://u:p@{host}/app?sslmode=disable")).unwrap();
            assert_eq!(settings.trust, None, "{host}");
        }
        assert_eq!(
            parse("postgresql://u:p@db.example.com/app?sslmode=disable").err(),
            Some(ConnectError::UnencryptedNetwork("db.example.com".into()))
        );
    }

    #[test]
    fn no_verify_is_allowed_with_a_warning() {
        let settings = parse("postgresql://u:p@db.example.com/app?sslmode=no-verify").unwrap();
        assert_eq!(settings.trust, Some(Trust::AnyCertificate));
        assert_eq!(settings.warnings.len(), 1);
    }

    #[test]
    fn unknown_options_are_ignored_with_a_warning() {
        let settings =
            parse("postgresql://u:p@h:5432/app?pgbouncer=true&connection_limit=1&application_name=mine").unwrap();
        assert_eq!(settings.warnings.len(), 2);
        assert_eq!(settings.pooling, Pooling::Transaction);
        assert_eq!(settings.driver.get_application_name(), Some("mine"));
    }

    #[test]
    fn the_transaction_pooler_is_recognised_by_its_port_and_gets_no_start_up_options() {
        let mut settings = parse("postgresql://postgres.ref:p@aws-0-eu.pooler.supabase.com:6543/postgres").unwrap();
        assert_eq!(settings.pooling, Pooling::Transaction);
        settings.limit_statements(Duration::from_secs(5));
        assert_eq!(settings.driver.get_options(), None);
        let mut settings = parse("postgresql://u:p@h:5432/app?options=-c%20jit%3Doff").unwrap();
        settings.limit_statements(Duration::from_secs(5));
        assert_eq!(settings.driver.get_options(), Some("-c statement_timeout=5000 -c jit=off"));
    }

    #[test]
    fn a_malformed_string_is_refused_without_showing_the_password() {
        for url in [
            "",
            "h:5432",
            "host=h user=u password=s3cret",
            "mysql://u:s3cret@h/x",
            "postgresql:///app",
            "postgresql://u:s3cret@/app?hostaddr=192.0.2.2&sslmode=require",
            "postgresql://u:12?s3cret@h/app",
        ] {
            let error = parse(url).err().unwrap().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        let error = parse("postgresql://u:s3cret@h:notaport/app?sslmode=require").err().unwrap().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        assert!(matches!(parse("postgresql://h/x?sslmode=on"), Err(ConnectError::UnknownSslMode(_))));
    }

    #[test]
    fn the_place_names_hosts_and_nothing_secret() {
        assert_eq!(parse("postgresql://u:p@db.example.com/app").unwrap().place(), "db.example.com:5432");
        let both = parse("postgresql://u:p@a:5433,%2Frun:5434/app").unwrap();
        assert_eq!(both.place(), "a:5433,/run/.s.PGSQL.5434");
    }
}

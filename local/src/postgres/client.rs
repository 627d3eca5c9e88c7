//! Checks that a server answers and is ours, and creates our database.
//!
//! Invariant: nothing is written to a server before its data directory was seen to be ours.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::{DATABASE, ROLE};

const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const QUERY_PATIENCE: Duration = Duration::from_secs(20);

/// The server's address; constant for its lifetime.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) port: u16,
    pub(crate) password: String,
}

impl Address {
    /// The URL of a database on the server.
    pub(crate) fn url(&self, database: &str) -> String {
        let Self { port, password } = self;
        let mut name = String::new();
        for byte in database.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                name.push(char::from(byte));
            } else {
                name.push_str(&format!("%{byte:02X}"));
            }
        }
        format!("postgresql://{ROLE}:{password}@127.0.0.1:{port}/{name}?sslmode=disable")
    }

    /// Checks that the server answers and serves `data`.
    pub(crate) async fn verify(&self, data: &Path) -> Result<()> {
        match self.ask(data, false).await {
            // Only a running server with our password answers this.
            Err(error) if has_no_room(&error) => Ok(()),
            other => other,
        }
    }

    /// Creates our database unless it is there.
    pub(crate) async fn ensure_database(&self, data: &Path) -> Result<()> {
        self.ask(data, true).await.with_context(|| format!("creating the database {DATABASE}"))
    }

    async fn ask(&self, data: &Path, create: bool) -> Result<()> {
        let mut config = Config::new();
        config
            .host(Ipv4Addr::LOCALHOST.to_string())
            .port(self.port)
            .user(ROLE)
            .password(&self.password)
            .dbname("postgres")
            .connect_timeout(CONNECT_PATIENCE);
        let session = async {
            let (client, connection) = config.connect(NoTls).await?;
            let work = async move {
                check_directory(&client, data).await?;
                if create {
                    create_database(&client).await?;
                }
                Ok(())
            };
            let (work, connection) = tokio::join!(work, connection);
            work.and(connection.map_err(Into::into))
        };
        let limited = tokio::time::timeout(QUERY_PATIENCE, session).await;
        limited.with_context(|| format!("127.0.0.1:{} does not answer", self.port))?
    }
}

async fn check_directory(client: &Client, data: &Path) -> Result<()> {
    let row = client.query_one("SHOW data_directory", &[]).await?;
    let found: &str = row.try_get(0)?;
    let same = Path::new(found) == data || Path::new(found).canonicalize().is_ok_and(|found| found == data);
    if !same {
        bail!("the server that answers serves {found}, not {}", data.display());
    }
    Ok(())
}

async fn create_database(client: &Client) -> Result<()> {
    let query = "SELECT 1 FROM pg_database WHERE datname = $1";
    if client.query_opt(query, &[&DATABASE]).await?.is_none() {
        let statement = format!("CREATE DATABASE {DATABASE}");
        client.batch_execute(&statement).await?;
    }
    Ok(())
}

fn has_no_room(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code)
        .is_some_and(|code| *code == SqlState::TOO_MANY_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_name_is_escaped_in_its_url() {
        let address = Address { port: 15_001, password: "p".to_owned() };
        let expected = "postgresql://watchkeeper:p@127.0.0.1:15001/a%2Fb%3F-1?sslmode=disable";
        assert_eq!(address.url("a/b?-1"), expected);
    }
}

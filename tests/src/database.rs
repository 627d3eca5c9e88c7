//! A database for one test.

use secrecy::SecretString;
use shared::config::DatabaseConfig;
use shared::store::{ConnectionSettings, PoolSize, Store};
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, Row};

use crate::{AGENT, AGENT_PASSWORD, SERVER_VARIABLE, TEMPLATE};

/// A database that no other test sees.
pub struct Database {
    server: String,
    name: String,
    client: Client,
}

impl Database {
    /// A migrated database.
    pub async fn migrated() -> Self {
        Self::create(&format!("TEMPLATE {TEMPLATE}")).await
    }

    /// A database with nothing in it.
    pub async fn empty() -> Self {
        Self::create("TEMPLATE template0").await
    }

    async fn create(template: &str) -> Self {
        let server = server();
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let admin = connect(&url(&server, "postgres")).await;
        admin
            .batch_execute(&format!("CREATE DATABASE {name} {template}"))
            .await
            .expect("the test server should make a database");
        let client = connect(&url(&server, &name)).await;
        Self { server, name, client }
    }

    /// Its connection string, as the owner of the tables.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.server, &self.name)
    }

    /// Its configuration for `watchkeeper migrate`, as the owner.
    #[must_use]
    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig::at(SecretString::from(self.url()))
    }

    /// A pool on it, with the role of the functions.
    #[must_use]
    pub fn store(&self) -> Store {
        let config = DatabaseConfig::at(SecretString::from(as_agent(&self.url())));
        Store::new(&config, "test", PoolSize::LOCAL).expect("the test's own connection string is usable")
    }

    /// A plain connection to it, as the owner of the tables.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The rows of a query.
    pub async fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.client.query(sql, parameters).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The one value of a query.
    pub async fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        let rows = self.rows(sql, &[]).await;
        assert_eq!(rows.len(), 1, "{sql} should have one row");
        rows[0].try_get(0).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Returns as soon as this condition holds (a statement that returns one boolean).
    ///
    /// # Panics
    /// When it does not within ten seconds.
    pub async fn wait_until(&self, sql: &str) {
        let holds = async {
            while !self.value::<bool>(sql).await {
                self.execute("SELECT pg_sleep(0.005)").await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), holds)
            .await
            .unwrap_or_else(|_| panic!("never: {sql}"));
    }

    /// How many networks have recorded refusals, by kind of refusal; rows of two minutes count once.
    pub async fn networks_refused(&self, condition: &str) -> i64 {
        self.count(&format!("(SELECT DISTINCT event_type, source_ip FROM security_events {condition}) AS refused"))
            .await
    }

    /// How many rows a table has, or how many fulfil a condition.
    pub async fn count(&self, table_and_condition: &str) -> i64 {
        self.value(&format!("SELECT count(*) FROM {table_and_condition}")).await
    }
}

/// This connection string, as the role that the functions log in as; that of another server is unchanged.
#[must_use]
pub(crate) fn as_agent(url: &str) -> String {
    let owner = std::env::var(SERVER_VARIABLE).ok().and_then(|server| Some(server.rsplit_once('@')?.0.to_owned()));
    match owner.and_then(|owner| url.strip_prefix(&owner)) {
        Some(place) => format!("postgresql://{AGENT}:{AGENT_PASSWORD}{place}"),
        None => url.to_owned(),
    }
}

fn server() -> String {
    std::env::var(SERVER_VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{SERVER_VARIABLE} is not set: this test needs a Postgres server. Run `make test`, or \
             `cargo run -p harness --bin with-postgres -- cargo nextest run …`"
        )
    })
}

/// The server's connection string with this database in it.
#[must_use]
pub(crate) fn url(server: &str, database: &str) -> String {
    format!("{server}/{database}?sslmode=disable")
}

async fn connect(url: &str) -> Client {
    let config = DatabaseConfig::at(SecretString::from(url));
    ConnectionSettings::parse(&config, "test")
        .expect("the test's own connection string is usable")
        .connect()
        .await
        .expect("the test server should answer")
}

//! The connection pool: built once per process, connects at first use, replaces dead connections. Retries statements and
//! transactions after a conflict (a deadlock, say) until their deadline.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Client, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{ConnectError, ConnectionSettings, StoreError};
use crate::config::{DatabaseConfig, Statements};
use crate::tls;

/// How many connections a process may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize(pub usize);

impl PoolSize {
    /// A Lambda environment serves one request at a time.
    pub const LAMBDA: Self = Self(2);
    /// The local stack serves whatever comes.
    pub const LOCAL: Self = Self(8);
}

/// When an operation is given up.
#[derive(Clone, Copy)]
struct Until {
    at: Instant,
    budget: Duration,
}

/// A pool of connections, cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    statements: Statements,
}

impl Store {
    /// A statement that has not answered by then is given up, and its connection with it.
    pub const DEADLINE: Duration = Duration::from_secs(5);
    /// Attempts after conflicts with other transactions.
    const CONFLICTS: u32 = 3;
    /// Pauses before the attempts after a lost connection. What ends one backend of a pooler often ends them all, and
    /// until it has noticed, the pooler hands out the next one that is about to die.
    const LOSSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(80)];
    /// Waiting for a free connection, and for a new one, ends after this time.
    const WAIT: Duration = Duration::from_secs(4);

    /// Sets up the pool; touches no network. Warnings about the connection string are logged.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn new(config: &DatabaseConfig, application_name: &str, size: PoolSize) -> Result<Self, ConnectError> {
        let mut settings = ConnectionSettings::parse(config, application_name)?;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        settings.limit_statements(Self::DEADLINE);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &settings.trust {
            None => Manager::from_config(settings.driver, NoTls, recycling),
            Some(trust) => {
                let tls = tls::client_config(trust).map_err(|error| ConnectError::Malformed(super::chain(&error)))?;
                Manager::from_config(settings.driver, MakeRustlsConnect::new(tls), recycling)
            }
        };
        let pool = Pool::builder(manager)
            .max_size(size.0)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(Self::WAIT))
            .create_timeout(Some(Self::WAIT))
            .recycle_timeout(Some(Self::WAIT))
            .build()
            .map_err(|error| ConnectError::Malformed(error.to_string()))?;
        Ok(Self { pool, statements: config.statements })
    }

    /// Whether statements may be prepared.
    #[must_use]
    pub fn statements(&self) -> Statements {
        self.statements
    }

    /// Hangs up on Postgres, so that it need not find out by itself. Nothing can be run afterwards.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Drops the idle connections: one of them may still be busy with what was given up.
    fn hang_up(&self) {
        self.pool.retain(|_, _| false);
    }

    /// Runs an operation that begins and commits a transaction on the connection that it gets, within the deadline and with the
    /// same retries as [`Store::run`]. A transaction that it drops is rolled back.
    ///
    /// # Errors
    /// What the operation returns, or that the database is not available.
    pub async fn transaction<T, F, O>(&self, operation: O) -> Result<T, StoreError>
    where
        O: Fn(Client) -> F,
        F: Future<Output = Result<T, StoreError>>,
    {
        self.retry(Self::DEADLINE, |until| self.transaction_once(until, &operation)).await
    }

    /// Runs an operation on a connection, within the deadline. When the connection turns out to be dead, it is run
    /// again on a fresh one: whatever it writes must have a key that makes the next time harmless.
    ///
    /// # Errors
    /// What the operation returns, or that the database is not available.
    pub async fn run<T, F, O>(&self, operation: O) -> Result<T, StoreError>
    where
        O: Fn(Arc<Client>) -> F,
        F: Future<Output = Result<T, StoreError>>,
    {
        self.run_within(Self::DEADLINE, operation).await
    }

    /// As [`Store::run`], with another deadline for all of it: waiting for a connection, the operation, and further
    /// attempts where there are some.
    ///
    /// # Errors
    /// What the operation returns, or that the database is not available in time.
    pub async fn run_within<T, F, O>(&self, budget: Duration, operation: O) -> Result<T, StoreError>
    where
        O: Fn(Arc<Client>) -> F,
        F: Future<Output = Result<T, StoreError>>,
    {
        self.retry(budget, |until| self.run_once(until, &operation)).await
    }

    /// Tries until it succeeds, the budget is spent, or another attempt can't help.
    async fn retry<T, F>(&self, budget: Duration, attempt: impl Fn(Until) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let until = Until { at: Instant::now() + budget, budget };
        let mut conflicts = 0;
        let mut pauses = Self::LOSSES.into_iter();
        loop {
            let error = match attempt(until).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match error {
                // The other transaction has committed; a crowd with one key may conflict more than once.
                StoreError::Conflict(_) if conflicts < Self::CONFLICTS => {
                    tracing::debug!(error = %super::chain(&error), "retrying after a conflict");
                    conflicts += 1;
                }
                _ if error.is_worth_a_retry() => {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    tracing::warn!(error = %super::chain(&error), "connection lost; trying again");
                    // What killed one idle connection has likely killed the others.
                    self.hang_up();
                    tokio::time::sleep(pause).await;
                }
                StoreError::Timeout(_) => {
                    // What slept through a freeze or a failover is not for the next caller either.
                    self.hang_up();
                    return Err(error);
                }
                _ => return Err(error),
            }
        }
    }

    async fn run_once<T, F, O>(&self, until: Until, operation: &O) -> Result<T, StoreError>
    where
        O: Fn(Arc<Client>) -> F,
        F: Future<Output = Result<T, StoreError>>,
    {
        let client = Arc::new(self.get(until).await?);
        let answer = timeout_at(until.at, operation(Arc::clone(&client))).await;
        answer.unwrap_or_else(|_| {
            // The server may still be busy with it: this connection is not for the next caller.
            Arc::into_inner(client).map(Object::take);
            Err(StoreError::Timeout(until.budget))
        })
    }

    async fn transaction_once<T, F, O>(&self, until: Until, operation: &O) -> Result<T, StoreError>
    where
        O: Fn(Client) -> F,
        F: Future<Output = Result<T, StoreError>>,
    {
        let client = self.get(until).await?;
        // One that is cut off goes back to the pool, which is emptied after a timeout.
        let answer = timeout_at(until.at, operation(client)).await;
        answer.unwrap_or_else(|_| Err(StoreError::Timeout(until.budget)))
    }

    async fn get(&self, until: Until) -> Result<Client, StoreError> {
        let client = timeout_at(until.at, self.pool.get()).await;
        Ok(client.map_err(|_| StoreError::Timeout(until.budget))??)
    }
}

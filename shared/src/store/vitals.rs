//! Metrics of a monitored Postgres server (not our own), read in one statement from its statistics views.

use tokio_postgres::Client;

use super::StoreError;
use super::row::column;

/// Metrics of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Vitals {
    /// Client connections, including ours.
    pub connections: i64,
    /// The server's connection limit.
    pub max_connections: i64,
    /// The age of the longest transaction, in seconds; a role without `pg_read_all_stats` sees only its own.
    pub longest_transaction_seconds: f64,
    /// Backends that wait for a lock.
    pub blocked_backends: i64,
    /// Deadlocks in this database since its statistics began.
    pub deadlocks: i64,
    /// The share of blocks read from memory since then; none if nothing was read.
    pub cache_hit_ratio: Option<f64>,
    /// The database's size, in bytes.
    pub size_bytes: i64,
}

/// Reads the metrics in one unnamed statement: safe through any pooler.
///
/// # Errors
/// Any store error.
pub async fn read(client: &Client) -> Result<Vitals, StoreError> {
    let row = client.query_typed_one(include_str!("sql/vitals.sql"), &[]).await?;
    Ok(Vitals {
        connections: column(&row, "connections")?,
        max_connections: column(&row, "max_connections")?,
        longest_transaction_seconds: column(&row, "longest_transaction_seconds")?,
        blocked_backends: column(&row, "blocked_backends")?,
        deadlocks: column(&row, "deadlocks")?,
        cache_hit_ratio: column(&row, "cache_hit_ratio")?,
        size_bytes: column(&row, "size_bytes")?,
    })
}

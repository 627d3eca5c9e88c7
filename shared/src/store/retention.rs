//! What has been kept long enough: results of checks and their roll-ups, and what was refused; deleted in pieces.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::row::column;
use super::{Client, StoreError};

/// As many rows of one table go at once.
pub const PIECE: i64 = 5_000;

/// Deletes at most [`PIECE`] rows of each table: results older than `check_retention_days` (30), roll-ups older than
/// `rollup_retention_days` (400), security events older than `security_event_retention_days` (90), as `system_config` says. Returns the most
/// that went from one table: less than a piece means that nothing is left to delete.
///
/// # Errors
/// Any store error.
pub async fn delete_expired(client: &Client, now: DateTime<Utc>) -> Result<i64, StoreError> {
    let rows = client
        .query_typed(include_str!("sql/delete_expired.sql"), &[(&now, Type::TIMESTAMPTZ), (&PIECE, Type::INT8)])
        .await?;
    rows.first().map_or(Ok(0), |row| column(row, "most"))
}

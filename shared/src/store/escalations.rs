//! `escalations`: ladders that are climbed while nobody reacts. `notify` begins and ends them, `dispatch` climbs.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};

/// [`claim_due`] looks at this many ladders at most.
pub const CLAIM_LIMIT: i64 = 100;

/// Climbs the ladders whose next step is due: its event is in the outbox, its id returned. A ladder that somebody has
/// stopped ends. Once for each step, even if two do so at once.
///
/// # Errors
/// Any store error.
pub async fn claim_due(client: &Client, now: DateTime<Utc>) -> Result<Vec<Uuid>, StoreError> {
    let sql = include_str!("sql/claim_escalations.sql");
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ), (&CLAIM_LIMIT, Type::INT8)]).await?;
    rows.iter().map(|row| column(row, "id")).collect()
}

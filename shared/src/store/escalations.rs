//! `escalations`: `notify` starts and ends them; `dispatch` takes their due steps until everything is acknowledged.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};

/// [`claim_due`] takes at most this many.
pub const CLAIM_LIMIT: i64 = 100;

/// What one call of [`claim_due`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedEscalations {
    /// How many were due; with as many as [`CLAIM_LIMIT`] there may be more.
    pub due: i64,
    /// The events of the steps that were taken.
    pub events: Vec<Uuid>,
}

/// Takes the next step of each due escalation: inserts its event into the outbox and returns the id. An escalation that is
/// acknowledged or resolved ends. Concurrent calls take each step once.
///
/// # Errors
/// Any store error.
pub async fn claim_due(client: &Client, now: DateTime<Utc>) -> Result<ClaimedEscalations, StoreError> {
    let sql = include_str!("sql/claim_escalations.sql");
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ), (&CLAIM_LIMIT, Type::INT8)]).await?;
    let Some(row) = rows.first() else { return Ok(ClaimedEscalations::default()) };
    Ok(ClaimedEscalations { due: column(row, "due")?, events: column(row, "events")? })
}

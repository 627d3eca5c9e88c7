//! `escalations`: their steps are taken until all is acknowledged. `notify` starts and ends them, `dispatch` takes the steps.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};

/// [`claim_due`] takes at most this many.
pub const CLAIM_LIMIT: i64 = 100;

/// The escalations that were due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Climbed {
    /// How many were due; with as many as [`CLAIM_LIMIT`] there may be more.
    pub looked: i64,
    /// The events of the steps that were taken.
    pub told: Vec<Uuid>,
}

/// Takes the next step of due escalations: its event is in the outbox, its id returned. One that is acknowledged or over
/// ends. Once for each step, even if two do so at once.
///
/// # Errors
/// Any store error.
pub async fn claim_due(client: &Client, now: DateTime<Utc>) -> Result<Climbed, StoreError> {
    let sql = include_str!("sql/claim_escalations.sql");
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ), (&CLAIM_LIMIT, Type::INT8)]).await?;
    let Some(row) = rows.first() else { return Ok(Climbed::default()) };
    Ok(Climbed { looked: column(row, "looked")?, told: column(row, "told")? })
}

//! `inbound_deliveries`: the keys of what was taken in. They are written by the statements that take it in.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::{Client, StoreError};

/// Forgets up to 1,000 deliveries from before this instant; returns how many.
///
/// # Errors
/// Any store error.
pub async fn delete_older_than(client: &Client, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let sql = "
        DELETE FROM public.inbound_deliveries
        WHERE delivery_key IN (
            SELECT delivery_key FROM public.inbound_deliveries
            WHERE received_at < $1
            ORDER BY received_at
            LIMIT 1000
            FOR UPDATE SKIP LOCKED
        )";
    Ok(client.execute_typed(sql, &[(&before, Type::TIMESTAMPTZ)]).await?)
}

//! `inbound_deliveries`: the keys of what was taken in. They are written by the statements that take it in.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::types::Type;

use super::{Client, StoreError};

/// The delivery of a report may be repeated this long: a queue keeps a message for 14 days, and what lies in its dead
/// letters for 14 more is sent again by people.
pub const KEEP_REPORTS: TimeDelta = TimeDelta::days(30);

/// Those of steps are few. Sentry resolves by itself what it has not seen for up to 30 days, so a step may be about
/// something that old, and its key is kept for longer.
pub const KEEP_STEPS: TimeDelta = TimeDelta::days(90);

/// Forgets up to 1,000 deliveries that are old enough by now; returns how many.
///
/// # Errors
/// Any store error.
pub async fn delete_old(client: &Client, now: DateTime<Utc>) -> Result<u64, StoreError> {
    // Only reports have a hash of their content.
    let sql = "
        DELETE FROM public.inbound_deliveries
        WHERE delivery_key IN (
            SELECT delivery_key FROM public.inbound_deliveries
            WHERE received_at < $1 AND (content_hash IS NOT NULL OR received_at < $2)
            ORDER BY received_at
            LIMIT 1000
            FOR UPDATE SKIP LOCKED
        )";
    let (reports, steps) = (now - KEEP_REPORTS, now - KEEP_STEPS);
    Ok(client.execute_typed(sql, &[(&reports, Type::TIMESTAMPTZ), (&steps, Type::TIMESTAMPTZ)]).await?)
}

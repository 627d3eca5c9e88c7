//! `intake_counters`: received items per hour, by function and kind.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Client, StoreError};

/// What is added to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted<'a> {
    /// The function that received them.
    pub source: &'a str,
    /// Their kind.
    pub kind: &'a str,
    /// Their number.
    pub count: i64,
}

/// The hour of an instant.
#[must_use]
pub fn hour_of(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.duration_trunc(TimeDelta::hours(1)).unwrap_or(instant)
}

/// Adds to this hour's counters, all or none. Idempotent: a retried batch adds nothing, unless another one was written
/// in between. Each source and kind at most once.
///
/// # Errors
/// Any store error.
pub async fn add(client: &Client, batch: Uuid, counts: &[Counted<'_>], now: DateTime<Utc>) -> Result<(), StoreError> {
    let sql = "
        INSERT INTO public.intake_counters AS stored (source, kind, hour, count, last_batch)
        SELECT given.source, given.kind, $4, given.count, $5
        FROM unnest($1::text[], $2::text[], $3::bigint[]) AS given (source, kind, count)
        -- A fixed lock order prevents deadlocks of concurrent batches.
        ORDER BY given.source COLLATE \"C\", given.kind COLLATE \"C\"
        ON CONFLICT (source, kind, hour) DO UPDATE SET
            count = stored.count + CASE WHEN stored.last_batch = EXCLUDED.last_batch THEN 0 ELSE EXCLUDED.count END,
            last_batch = EXCLUDED.last_batch";
    let parameters = [
        (&counts.iter().map(|it| it.source).collect::<Vec<_>>() as _, Type::TEXT_ARRAY),
        (&counts.iter().map(|it| it.kind).collect::<Vec<_>>() as _, Type::TEXT_ARRAY),
        (&counts.iter().map(|it| it.count).collect::<Vec<_>>() as _, Type::INT8_ARRAY),
        (&hour_of(now) as _, Type::TIMESTAMPTZ),
        (&batch as _, Type::UUID),
    ];
    client.execute_typed(sql, &parameters).await?;
    Ok(())
}

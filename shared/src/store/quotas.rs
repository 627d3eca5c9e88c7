//! `quota_counters`: the events of each application in each window of its rate limits. Incremented in batches.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::Quota;

/// The key of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The application's number.
    pub application: i64,
    /// The quota.
    pub quota: Quota,
    /// The window's start.
    pub start: DateTime<Utc>,
}

/// The increment of a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Accepted events.
    pub accepted: i64,
    /// Events refused by any quota.
    pub refused: i64,
}

/// Adds to the counters, all or none; returns the accepted events of all processes. Idempotent: a retried batch adds
/// nothing, unless another one was written in between (then it counts twice, and the quota is reached earlier). Unknown
/// applications are left out.
///
/// # Errors
/// Any store error.
pub async fn add(client: &Client, batch: Uuid, counts: &[(Window, Counted)]) -> Result<Vec<(Window, i64)>, StoreError> {
    let sql = "
        INSERT INTO public.quota_counters AS stored (application, quota, window_start, accepted, refused, last_batch)
        SELECT given.application, given.quota, given.window_start, given.accepted, given.refused, $6
        FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[])
            AS given (application, quota, window_start, accepted, refused)
        JOIN public.applications AS application ON application.number = given.application
        -- A fixed lock order prevents deadlocks of concurrent batches.
        ORDER BY given.application, given.quota, given.window_start
        ON CONFLICT (application, quota, window_start) DO UPDATE SET
            accepted = stored.accepted
                + CASE WHEN stored.last_batch = EXCLUDED.last_batch THEN 0 ELSE EXCLUDED.accepted END,
            refused = stored.refused
                + CASE WHEN stored.last_batch = EXCLUDED.last_batch THEN 0 ELSE EXCLUDED.refused END,
            last_batch = EXCLUDED.last_batch
        RETURNING application, quota, window_start, accepted";
    fn each<T>(counts: &[(Window, Counted)], pick: impl Fn(&(Window, Counted)) -> T) -> Vec<T> {
        counts.iter().map(pick).collect()
    }
    let rows = client
        .query_typed(
            sql,
            &[
                (&each(counts, |it| it.0.application), Type::INT8_ARRAY),
                (&each(counts, |it| it.0.quota.as_str()), Type::TEXT_ARRAY),
                (&each(counts, |it| it.0.start), Type::TIMESTAMPTZ_ARRAY),
                (&each(counts, |it| it.1.accepted), Type::INT8_ARRAY),
                (&each(counts, |it| it.1.refused), Type::INT8_ARRAY),
                (&batch, Type::UUID),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let window = Window {
                application: column(row, "application")?,
                quota: word(row, "quota", Quota::parse)?,
                start: column(row, "window_start")?,
            };
            Ok((window, column(row, "accepted")?))
        })
        .collect()
}

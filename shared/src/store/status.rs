//! How things stand, in one statement each: what `/ready` and `/status` need.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::Severity;

/// How long the oldest unpublished event has waited, in seconds; 0 when none waits.
///
/// # Errors
/// Any store error.
pub async fn outbox_lag_seconds(client: &Client, now: DateTime<Utc>) -> Result<f64, StoreError> {
    let sql = "
        SELECT coalesce(greatest(0, extract(epoch FROM $1 - min(created_at))), 0)::double precision AS lag
        FROM public.event_outbox
        WHERE published_at IS NULL";
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ)]).await?;
    rows.first().map_or(Ok(0.0), |row| column(row, "lag"))
}

/// The open incidents of each environment, counted by severity.
///
/// # Errors
/// Any store error.
pub async fn count_open_incidents(client: &Client) -> Result<BTreeMap<String, BTreeMap<Severity, i64>>, StoreError> {
    let sql = "
        SELECT environment, severity::text AS severity, count(*) AS incidents
        FROM public.incidents
        WHERE status <> 'resolved'
        GROUP BY environment, severity";
    let mut counts: BTreeMap<String, BTreeMap<Severity, i64>> = BTreeMap::new();
    for row in client.query_typed(sql, &[]).await? {
        counts
            .entry(column(&row, "environment")?)
            .or_default()
            .insert(word(&row, "severity", Severity::parse)?, column(&row, "incidents")?);
    }
    Ok(counts)
}

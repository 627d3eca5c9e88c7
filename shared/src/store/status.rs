//! How things stand, in one statement each: what `/ready`, `/status` and `/metrics` need.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::types::Type;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::Severity;

/// What is still to be told to the bus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outbox {
    /// Events that it has not taken yet.
    pub waiting: i64,
    /// Those of them that it did not take for [`Outbox::FAILING`] times.
    pub failing: i64,
    /// How long the oldest has waited, in seconds; 0 when none waits.
    pub lag_seconds: f64,
    /// Why one of them was not taken the last time.
    pub last_error: Option<String>,
}

impl Outbox {
    /// So many attempts make an event one that fails.
    pub const FAILING: i32 = 3;
}

/// What is still to be told to the bus.
///
/// # Errors
/// Any store error.
pub async fn outbox(client: &Client, now: DateTime<Utc>) -> Result<Outbox, StoreError> {
    let sql = "
        SELECT
            count(*) AS waiting,
            count(*) FILTER (WHERE attempts >= $2) AS failing,
            coalesce(greatest(0, extract(epoch FROM $1 - min(created_at))), 0)::double precision AS lag,
            (array_agg(last_error ORDER BY next_attempt_at DESC NULLS LAST) FILTER (WHERE last_error IS NOT NULL))[1]
                AS last_error
        FROM public.event_outbox
        WHERE published_at IS NULL";
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ), (&Outbox::FAILING, Type::INT4)]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("an aggregate has no row".into()))?;
    Ok(Outbox {
        waiting: column(row, "waiting")?,
        failing: column(row, "failing")?,
        lag_seconds: column(row, "lag")?,
        last_error: column(row, "last_error")?,
    })
}

/// How telling people goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Telling {
    /// Receivers that are configured, as `notify` has said within an hour.
    pub receivers: i64,
    /// Those that can't be reached, and since when.
    pub failing: Vec<FailingReceiver>,
    /// Messages that wait for their time, or to be tried again.
    pub pending: i64,
    /// Messages that are being sent.
    pub sending: i64,
    /// Messages that were given up.
    pub failed: i64,
    /// Those of them that are no older than a day.
    pub failed_today: i64,
}

/// A receiver that can't be reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailingReceiver {
    /// `slack`, `email:a@b`.
    pub receiver: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, the last time.
    pub last_error: Option<String>,
}

/// How telling people goes.
///
/// # Errors
/// Any store error.
pub async fn telling(client: &Client, now: DateTime<Utc>) -> Result<Telling, StoreError> {
    let sql = "
        SELECT
            (SELECT count(*) FROM public.notification_receivers WHERE seen_at > $1 - interval '1 hour') AS receivers,
            (SELECT count(*) FROM public.notifications WHERE status = 'pending') AS pending,
            (SELECT count(*) FROM public.notifications WHERE status = 'sending') AS sending,
            count(*) AS failed,
            count(*) FILTER (WHERE created_at > $1 - interval '1 day') AS failed_today
        FROM public.notifications
        WHERE status = 'failed'";
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ)]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("an aggregate has no row".into()))?;
    Ok(Telling {
        receivers: column(row, "receivers")?,
        failing: list_failing(client).await?,
        pending: column(row, "pending")?,
        sending: column(row, "sending")?,
        failed: column(row, "failed")?,
        failed_today: column(row, "failed_today")?,
    })
}

async fn list_failing(client: &Client) -> Result<Vec<FailingReceiver>, StoreError> {
    let sql = "
        SELECT
            channel || CASE recipient WHEN 'default' THEN '' ELSE ':' || recipient END AS receiver,
            failing_since,
            last_error
        FROM public.notification_receivers AS receiver
        -- Who is no longer configured, nor waited for, fails nobody.
        WHERE failing_since IS NOT NULL AND (seen_at IS NOT NULL OR EXISTS (
            SELECT FROM public.notifications AS message
            WHERE message.channel = receiver.channel AND message.recipient = receiver.recipient
                AND message.status IN ('pending', 'sending')
        ))
        ORDER BY failing_since, channel, recipient
        LIMIT 100";
    let failing = |row| {
        Ok(FailingReceiver {
            receiver: column(row, "receiver")?,
            since: column(row, "failing_since")?,
            last_error: column(row, "last_error")?,
        })
    };
    client.query_typed(sql, &[]).await?.iter().map(failing).collect()
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

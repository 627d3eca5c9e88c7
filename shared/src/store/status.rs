//! The state of the outbox, notifications and incidents for `/ready`, `/status` and `/metrics`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::types::Type;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::Severity;

/// The unpublished events of the outbox.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outbox {
    /// Unpublished events.
    pub waiting: i64,
    /// Those of them with [`Outbox::FAILING`] or more failed attempts.
    pub failing: i64,
    /// The age of the oldest, in seconds; 0 if there is none.
    pub lag_seconds: f64,
    /// The error of a failed attempt.
    pub last_error: Option<String>,
}

impl Outbox {
    /// An event is failing after this many attempts.
    pub const FAILING: i32 = 3;
}

/// Reads the state of the outbox.
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
    let row = rows.first().ok_or_else(|| StoreError::Internal("the aggregate returned no row".into()))?;
    Ok(Outbox {
        waiting: column(row, "waiting")?,
        failing: column(row, "failing")?,
        lag_seconds: column(row, "lag")?,
        last_error: column(row, "last_error")?,
    })
}

/// The state of notifications.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notifications {
    /// Configured receivers, as recorded by `notify` within the last hour.
    pub receivers: i64,
    /// Receivers that can't be reached.
    pub failing: Vec<FailingReceiver>,
    /// Notifications that wait for their time or a retry.
    pub pending: i64,
    /// Notifications that are being sent.
    pub sending: i64,
    /// Failed notifications.
    pub failed: i64,
    /// Those of them from the last day.
    pub failed_today: i64,
}

/// A receiver that can't be reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailingReceiver {
    /// `slack`, `email:a@b`.
    pub receiver: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Its last error.
    pub last_error: Option<String>,
}

/// Reads the state of notifications.
///
/// # Errors
/// Any store error.
pub async fn notifications(client: &Client, now: DateTime<Utc>) -> Result<Notifications, StoreError> {
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
    let row = rows.first().ok_or_else(|| StoreError::Internal("the aggregate returned no row".into()))?;
    Ok(Notifications {
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
        -- Only receivers that are configured or have unsent notifications.
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

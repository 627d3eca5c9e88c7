//! `notification_groups`: what is notified together.
//!
//! A group is evaluated in a transaction that holds its lock ([`lock`], [`lock_known`]), so that two evaluations of one group
//! run one after the other.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::model::{Receiver, Subject};
use crate::store::row::column;
use crate::store::{Client, StoreError};

/// A group, as it was when its lock was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// How it is notified: written by `notify`, read by nothing else.
    pub settings: Value,
    /// Its progress.
    pub progress: Progress,
}

/// What was notified of a group, and when it is evaluated again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// When its first problem was added that was not notified yet.
    pub first_seen_at: DateTime<Utc>,
    /// When it was notified last.
    pub last_notified_at: Option<DateTime<Utc>>,
    /// When it is evaluated again.
    pub due_at: Option<DateTime<Utc>>,
    /// The receivers that were notified of an open problem in it.
    pub receivers: Vec<Receiver>,
}

const GROUP: &str = "settings, first_seen_at, last_told_at, due_at, told";

/// Takes the lock of a group, which is created if absent, and stores these settings.
///
/// # Errors
/// Any store error.
pub async fn lock(
    transaction: &Transaction<'_>,
    group_key: &str,
    route: &str,
    settings: &Value,
    now: DateTime<Utc>,
) -> Result<Group, StoreError> {
    let sql = format!(
        "INSERT INTO public.notification_groups AS known (group_key, route, settings, first_seen_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (group_key) DO UPDATE SET route = EXCLUDED.route, settings = EXCLUDED.settings
        RETURNING {GROUP}"
    );
    let parameters = [
        (&group_key as _, Type::TEXT),
        (&route as _, Type::TEXT),
        (settings as _, Type::JSONB),
        (&now as _, Type::TIMESTAMPTZ),
    ];
    let rows = transaction.query_typed(&sql, &parameters).await?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("a group was not stored".into()))?;
    group_of(row)
}

/// Takes the lock of a group that exists.
///
/// # Errors
/// Any store error.
pub async fn lock_known(transaction: &Transaction<'_>, group_key: &str) -> Result<Option<Group>, StoreError> {
    let sql = format!("SELECT {GROUP} FROM public.notification_groups WHERE group_key = $1 FOR UPDATE");
    let rows = transaction.query_typed(&sql, &[(&group_key, Type::TEXT)]).await?;
    rows.first().map(group_of).transpose()
}

/// The groups that a subject is in, the oldest first.
///
/// # Errors
/// Any store error.
pub async fn list_of_subject(client: &Client, subject: &Subject) -> Result<Vec<String>, StoreError> {
    let sql = "
        SELECT member.group_key
        FROM public.notification_members AS member
        JOIN public.notification_groups AS grouped USING (group_key)
        WHERE member.subject = $1
        ORDER BY grouped.first_seen_at, member.group_key
        LIMIT 200";
    let rows = client.query_typed(sql, &[(&subject.to_string(), Type::TEXT)]).await?;
    rows.iter().map(|row| column(row, "group_key")).collect()
}

/// The due groups, the longest waiting first.
///
/// # Errors
/// Any store error.
pub async fn list_due(client: &Client, now: DateTime<Utc>, limit: usize) -> Result<Vec<String>, StoreError> {
    let sql = "
        SELECT group_key FROM public.notification_groups
        WHERE due_at <= $1
        ORDER BY due_at
        LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ), (&limit, Type::INT8)]).await?;
    rows.iter().map(|row| column(row, "group_key")).collect()
}

/// Postpones a due group that can't be evaluated, so that it does not block the others.
///
/// # Errors
/// Any store error.
pub async fn postpone(
    client: &Client,
    group_key: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "UPDATE public.notification_groups SET due_at = $3 WHERE group_key = $1 AND due_at <= $2";
    let parameters: &[(&(dyn ToSql + Sync), Type)] =
        &[(&group_key, Type::TEXT), (&now, Type::TIMESTAMPTZ), (&until, Type::TIMESTAMPTZ)];
    client.execute_typed(sql, parameters).await?;
    Ok(())
}

/// Whether one of these events has notifications of this group already.
///
/// # Errors
/// Any store error.
pub async fn has_notified(transaction: &Transaction<'_>, group_key: &str, events: &[Uuid]) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM public.notifications WHERE event_id = ANY($2) AND group_key = $1) AS found";
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT), (&events, Type::UUID_ARRAY)]).await?;
    rows.first().map_or(Ok(false), |row| column(row, "found"))
}

/// Stores the progress of a group.
///
/// # Errors
/// Any store error.
pub async fn update(transaction: &Transaction<'_>, group_key: &str, progress: &Progress) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.notification_groups
        SET first_seen_at = $2, last_told_at = $3, due_at = $4, told = $5
        WHERE group_key = $1
            AND (first_seen_at, last_told_at, due_at, told) IS DISTINCT FROM ($2, $3, $4, $5)";
    let receivers: Vec<String> = progress.receivers.iter().map(ToString::to_string).collect();
    let parameters = [
        (&group_key as _, Type::TEXT),
        (&progress.first_seen_at as _, Type::TIMESTAMPTZ),
        (&progress.last_notified_at as _, Type::TIMESTAMPTZ),
        (&progress.due_at as _, Type::TIMESTAMPTZ),
        (&receivers as _, Type::TEXT_ARRAY),
    ];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Whether a problem of the group is open, not acknowledged and not muted.
///
/// # Errors
/// Any store error.
pub async fn is_unacknowledged(transaction: &Transaction<'_>, group_key: &str) -> Result<bool, StoreError> {
    let sql = "
        SELECT EXISTS (
            SELECT FROM public.notification_members AS member
            WHERE member.group_key = $1 AND member.state = 'firing' AND member.muted_by IS NULL AND (
                EXISTS (
                    SELECT FROM public.incidents
                    WHERE incident_id = substr(member.subject, 10) AND status = 'detected'
                        AND member.subject LIKE 'incident:%'
                )
                OR EXISTS (
                    SELECT FROM public.alert_events
                    WHERE status = 'active'
                        AND id = CASE WHEN member.subject LIKE 'alert:%' THEN substr(member.subject, 7)::uuid END
                )
            )
        ) AS open";
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT)]).await?;
    rows.first().map_or(Ok(false), |row| column(row, "open"))
}

fn group_of(row: &Row) -> Result<Group, StoreError> {
    let receivers: Vec<&str> = column(row, "told")?;
    Ok(Group {
        settings: column(row, "settings")?,
        progress: Progress {
            first_seen_at: column(row, "first_seen_at")?,
            last_notified_at: column(row, "last_told_at")?,
            due_at: column(row, "due_at")?,
            receivers: receivers.into_iter().filter_map(|text| Receiver::parse(text).ok()).collect(),
        },
    })
}

//! The problems of a group of which notify has not heard yet what they are by now. In a transaction that holds its lock, but
//! for [`list_missed`], which looks for those of all groups.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::types::Type;

use super::groups::{Member, member_of};
use crate::store::row::column;
use crate::store::{Client, StoreError};

/// Those whose incident, or alert, stands elsewhere than they do; at most so many.
///
/// # Errors
/// Any store error.
pub async fn list_stale(
    transaction: &Transaction<'_>,
    group_key: &str,
    limit: usize,
) -> Result<Vec<Member>, StoreError> {
    let sql = "
        SELECT member.*
        FROM public.notification_members AS member
        LEFT JOIN public.incidents AS incident
            ON member.subject LIKE 'incident:%' AND incident.incident_id = substr(member.subject, 10)
        LEFT JOIN public.alert_events AS alert
            ON alert.id = CASE WHEN member.subject LIKE 'alert:%' THEN substr(member.subject, 7)::uuid END
        WHERE member.group_key = $1 AND member.state <> CASE coalesce(incident.status::text, alert.status)
            WHEN 'detected' THEN 'firing' WHEN 'active' THEN 'firing' ELSE coalesce(incident.status::text, alert.status)
        END
        ORDER BY member.subject
        LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT), (&limit, Type::INT8)]).await?;
    rows.iter().map(member_of).collect()
}

/// Those of all groups whose incident, or alert, stands elsewhere since before this instant, or is gone: what was to be heard
/// of it was not. Each with its group; at most so many.
///
/// # Errors
/// Any store error.
pub async fn list_missed(
    client: &Client,
    before: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "
        SELECT member.group_key, member.subject
        FROM public.notification_members AS member
        LEFT JOIN public.incidents AS incident
            ON member.subject LIKE 'incident:%' AND incident.incident_id = substr(member.subject, 10)
        LEFT JOIN public.alert_events AS alert
            ON alert.id = CASE WHEN member.subject LIKE 'alert:%' THEN substr(member.subject, 7)::uuid END
        WHERE member.changed_at < $1 AND CASE coalesce(incident.status::text, alert.status, 'gone')
            WHEN 'gone' THEN true
            WHEN member.state THEN false
            WHEN 'detected' THEN member.state <> 'firing'
            WHEN 'active' THEN member.state <> 'firing'
            ELSE true
        END
            AND coalesce(incident.updated_at, alert.resolved_at, alert.acknowledged_at, '-infinity') < $1
        ORDER BY member.group_key, member.subject
        LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query_typed(sql, &[(&before, Type::TIMESTAMPTZ), (&limit, Type::INT8)]).await?;
    rows.iter().map(|row| Ok((column(row, "group_key")?, column(row, "subject")?))).collect()
}

/// Those that are not over and not muted: each with what a silence would pick it by.
///
/// # Errors
/// Any store error.
pub async fn list_heard(transaction: &Transaction<'_>, group_key: &str) -> Result<Vec<(String, Value)>, StoreError> {
    let sql = "
        SELECT subject, coalesce(details -> 'labels', 'null') AS labels
        FROM public.notification_members
        WHERE group_key = $1 AND muted_by IS NULL AND state <> 'resolved'";
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT)]).await?;
    rows.iter().map(|row| Ok((column(row, "subject")?, column(row, "labels")?))).collect()
}

/// Mutes these: each by what stands beside it.
///
/// # Errors
/// Any store error.
pub async fn mute(
    transaction: &Transaction<'_>,
    group_key: &str,
    muted: &[(String, String)],
) -> Result<(), StoreError> {
    if muted.is_empty() {
        return Ok(());
    }
    let sql = "
        UPDATE public.notification_members AS member
        SET muted_by = muted.muted_by
        FROM unnest($2::text[], $3::text[]) AS muted (subject, muted_by)
        WHERE member.group_key = $1 AND member.subject = muted.subject";
    let subjects: Vec<&str> = muted.iter().map(|(subject, _)| subject.as_str()).collect();
    let mutes: Vec<&str> = muted.iter().map(|(_, mute)| mute.as_str()).collect();
    let parameters =
        [(&group_key as _, Type::TEXT), (&subjects as _, Type::TEXT_ARRAY), (&mutes as _, Type::TEXT_ARRAY)];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

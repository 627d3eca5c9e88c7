//! Problems whose incident or alert has changed since they were evaluated. In a transaction that has locked their group,
//! except [`list_missed`], which finds those of all groups.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use tokio_postgres::types::Type;

use super::members::{MEMBER, Member, member_of};
use crate::store::row::column;
use crate::store::{Client, StoreError};

/// The problems of a group whose incident or alert has another state; at most `limit`.
///
/// # Errors
/// Any store error.
pub async fn list_stale(
    transaction: &Transaction<'_>,
    group_key: &str,
    limit: usize,
) -> Result<Vec<Member>, StoreError> {
    let sql = format!(
        "SELECT {MEMBER}
        FROM public.notification_members AS member
        LEFT JOIN public.incidents AS incident
            ON member.subject LIKE 'incident:%' AND incident.incident_id = substr(member.subject, 10)
        LEFT JOIN public.alert_events AS alert
            ON alert.id = CASE WHEN member.subject LIKE 'alert:%' THEN substr(member.subject, 7)::uuid END
        WHERE member.group_key = $1 AND member.state <> CASE coalesce(incident.status::text, alert.status)
            WHEN 'detected' THEN 'firing' WHEN 'active' THEN 'firing' ELSE coalesce(incident.status::text, alert.status)
        END
        ORDER BY member.subject
        LIMIT $2"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = transaction.query_typed(&sql, &[(&group_key, Type::TEXT), (&limit, Type::INT8)]).await?;
    rows.iter().map(member_of).collect()
}

/// The problems of all groups whose incident or alert has another state since before this instant, or is deleted: an event was
/// missed. Each with its group; at most `limit`.
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

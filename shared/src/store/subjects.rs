//! What somebody else's system calls the problems that it was told of: from our `dedup_key` back to the problems.
//!
//! Users: `pagerduty-events`.

use tokio_postgres::types::Type;

use super::row::column;
use super::{Client, StoreError};
use crate::model::Subject;

/// The problems that were told over any channel under this key; at most 100. None: it is somebody else's.
///
/// # Errors
/// Any store error.
pub async fn list_of_dedup_key(client: &Client, dedup_key: &str) -> Result<Vec<Subject>, StoreError> {
    let sql = "
        SELECT member.subject
        FROM public.notification_members AS member
        WHERE member.group_key IN (
            SELECT told.group_key FROM public.notifications AS told WHERE told.dedup_key = $1
        )
        ORDER BY member.subject
        LIMIT 100";
    let rows = client.query_typed(sql, &[(&dedup_key, Type::TEXT)]).await?;
    let subjects: Result<Vec<Option<Subject>>, _> =
        rows.iter().map(|row| Ok::<_, StoreError>(Subject::parse(column(row, "subject")?))).collect();
    Ok(subjects?.into_iter().flatten().collect())
}

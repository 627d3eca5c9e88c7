//! Who knows of a problem, whichever group it was told with. In a transaction that holds the lock of one of them.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::store::StoreError;
use crate::store::row::column;

/// Who was told of a subject, in any group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Informed {
    /// A receiver.
    pub receiver: String,
    /// Whether by a group that was told of before now.
    pub is_earlier: bool,
}

/// Who was told of a subject, in any group, each once.
///
/// # Errors
/// Any store error.
pub async fn list_of_subject(
    transaction: &Transaction<'_>,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Informed>, StoreError> {
    let sql = "
        SELECT receiver, bool_or(coalesce(grouped.last_told_at < $2, true)) AS is_earlier
        FROM public.notification_members AS member
        JOIN public.notification_groups AS grouped USING (group_key), unnest(grouped.told) AS receiver
        WHERE member.subject = $1 AND member.told IN ('firing', 'acknowledged')
        GROUP BY receiver";
    let rows = transaction.query_typed(sql, &[(&subject, Type::TEXT), (&now, Type::TIMESTAMPTZ)]).await?;
    rows.iter()
        .map(|row| Ok(Informed { receiver: column(row, "receiver")?, is_earlier: column(row, "is_earlier")? }))
        .collect()
}

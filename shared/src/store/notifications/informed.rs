//! Which receivers were notified of a problem, by any of its groups. In a transaction that has locked one of the groups.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::model::{Receiver, Subject};
use crate::store::StoreError;
use crate::store::row::column;

/// A receiver that was notified of a subject, by any group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Informed {
    /// Which receiver.
    pub receiver: Receiver,
    /// Whether one of the groups was notified before now.
    pub is_earlier: bool,
}

/// The receivers that were notified of a subject, by any group, each once.
///
/// # Errors
/// Any store error.
pub async fn list_of_subject(
    transaction: &Transaction<'_>,
    subject: &Subject,
    now: DateTime<Utc>,
) -> Result<Vec<Informed>, StoreError> {
    let sql = "
        SELECT receiver, bool_or(coalesce(grouped.last_told_at < $2, true)) AS is_earlier
        FROM public.notification_members AS member
        JOIN public.notification_groups AS grouped USING (group_key), unnest(grouped.told) AS receiver
        WHERE member.subject = $1 AND member.told IN ('firing', 'acknowledged')
        GROUP BY receiver";
    let rows = transaction.query_typed(sql, &[(&subject.to_string(), Type::TEXT), (&now, Type::TIMESTAMPTZ)]).await?;
    let mut informed = Vec::with_capacity(rows.len());
    for row in &rows {
        let is_earlier = column(row, "is_earlier")?;
        let receiver = Receiver::parse(column(row, "receiver")?).ok();
        informed.extend(receiver.map(|receiver| Informed { receiver, is_earlier }));
    }
    Ok(informed)
}

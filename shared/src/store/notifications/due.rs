//! Groups whose time has come.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use crate::store::row::column;
use crate::store::{Client, StoreError};

/// The groups whose time has come, those first that have waited longest.
///
/// # Errors
/// Any store error.
pub async fn list(client: &Client, now: DateTime<Utc>, limit: usize) -> Result<Vec<String>, StoreError> {
    let sql = "
        SELECT group_key FROM public.notification_groups
        WHERE due_at <= $1
        ORDER BY due_at
        LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ), (&limit, Type::INT8)]).await?;
    rows.iter().map(|row| column(row, "group_key")).collect()
}

/// Lets a group wait until then that could not be told of, so that it keeps no other back.
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
    let parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] =
        &[(&group_key, Type::TEXT), (&now, Type::TIMESTAMPTZ), (&until, Type::TIMESTAMPTZ)];
    client.execute_typed(sql, parameters).await?;
    Ok(())
}

//! `silences`: operators' requests to suppress notifications.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};
use crate::model::Silence;

const COLUMNS: &str = "id, matchers, starts_at, ends_at, author, comment, created_at";

/// Stores a silence with its audit row. Idempotent by its id.
///
/// # Errors
/// Any store error.
pub async fn insert(client: &Client, silence: &Silence) -> Result<(), StoreError> {
    let sql = "
        WITH stored AS (
            INSERT INTO public.silences (id, matchers, starts_at, ends_at, author, comment, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (id) DO NOTHING
            RETURNING id
        )
        INSERT INTO public.agent_actions (
            timestamp, agent_id, agent_type, action_type, action_description, action_success, action_details
        )
        SELECT
            $7, 'admin', 'operator', 'silence_created', 'Silence by ' || $5 || ': ' || $6, true,
            jsonb_build_object(
                'silence_id', $1, 'matchers', $2, 'starts_at', $3, 'ends_at', $4, 'author', $5, 'comment', $6
            )
        FROM stored";
    let parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[
        (&silence.id, Type::UUID),
        (&Json(&silence.matchers), Type::JSONB),
        (&silence.starts_at, Type::TIMESTAMPTZ),
        (&silence.ends_at, Type::TIMESTAMPTZ),
        (&silence.author, Type::TEXT),
        (&silence.comment, Type::TEXT),
        (&silence.created_at, Type::TIMESTAMPTZ),
    ];
    client.execute_typed(sql, parameters).await?;
    Ok(())
}

/// Active and future silences, ordered by their end; at most 1,000.
///
/// # Errors
/// Any store error.
pub async fn list(client: &Client, now: DateTime<Utc>) -> Result<Vec<Silence>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM public.silences WHERE ends_at > $1 ORDER BY ends_at, id LIMIT 1000");
    let rows = client.query_typed(&sql, &[(&now, Type::TIMESTAMPTZ)]).await?;
    rows.iter().map(silence_of).collect()
}

/// Ends a silence now, and makes the groups due that it muted, in one statement. Returns the silence; one that had
/// already ended is unchanged. None: the id is unknown.
///
/// # Errors
/// Any store error.
pub async fn end(client: &Client, id: Uuid, by: &str, now: DateTime<Utc>) -> Result<Option<Silence>, StoreError> {
    let sql = format!(
        "WITH ended AS (
            UPDATE public.silences SET starts_at = least(starts_at, $2), ends_at = $2
            WHERE id = $1 AND ends_at > $2
            RETURNING {COLUMNS}
        ),
        due AS (
            UPDATE public.notification_groups SET due_at = least(due_at, $2)
            WHERE EXISTS (SELECT FROM ended) AND group_key IN (
                SELECT group_key FROM public.notification_members WHERE muted_by = $4
            )
        ),
        audited AS (
            INSERT INTO public.agent_actions (
                timestamp, agent_id, agent_type, action_type, action_description, action_success, action_details
            )
            SELECT
                $2, 'admin', 'operator', 'silence_ended', 'Silence ended by ' || $3, true,
                jsonb_build_object('silence_id', id, 'by', $3)
            FROM ended
        )
        SELECT {COLUMNS} FROM ended
        UNION ALL
        SELECT {COLUMNS} FROM public.silences WHERE id = $1 AND NOT EXISTS (SELECT FROM ended)"
    );
    let muted_by = format!("silence:{id}");
    let parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] =
        &[(&id, Type::UUID), (&now, Type::TIMESTAMPTZ), (&by, Type::TEXT), (&muted_by, Type::TEXT)];
    let rows = client.query_typed(&sql, parameters).await?;
    rows.first().map(silence_of).transpose()
}

fn silence_of(row: &Row) -> Result<Silence, StoreError> {
    let Json(matchers) = column(row, "matchers")?;
    Ok(Silence {
        id: column(row, "id")?,
        matchers,
        starts_at: column(row, "starts_at")?,
        ends_at: column(row, "ends_at")?,
        author: column(row, "author")?,
        comment: column(row, "comment")?,
        created_at: column(row, "created_at")?,
    })
}

//! Mutes that have ended: what fired meanwhile is told now, what also ended is told in one summary.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::store::row::column;
use crate::store::{Client, StoreError};

/// A problem that ended while a silence kept people from knowing of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unheard {
    /// Its group.
    pub group_key: String,
    /// Which.
    pub subject: String,
    /// What a message says of it.
    pub details: Value,
    /// How its group is told.
    pub settings: Value,
}

/// A silence that has ended, or was taken away, with something to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSilence {
    /// Which.
    pub id: Uuid,
    /// Who made it, and why; none: it is gone.
    pub reason: Option<String>,
}

/// The mutes that have ended: the silence, or the outage of the parent and the two minutes after it in which its children
/// recover. Each is asked about once, however many it mutes.
const ENDED: &str = "
    WITH muted AS MATERIALIZED (
        SELECT DISTINCT
            muted_by, CASE WHEN muted_by LIKE 'parent:%' THEN details #>> '{problem,environment}' END AS environment
        FROM public.notification_members
        WHERE muted_by IS NOT NULL
    ),
    ended AS MATERIALIZED (
        SELECT muted_by, environment FROM muted
        WHERE CASE
            WHEN muted_by LIKE 'silence:%' THEN NOT EXISTS (
                SELECT FROM public.silences AS silence
                WHERE silence.id = substr(muted.muted_by, 9)::uuid AND silence.starts_at <= $1 AND silence.ends_at > $1
            )
            ELSE NOT EXISTS (
                SELECT FROM public.services AS parent
                WHERE parent.name = substr(muted.muted_by, 8) AND parent.enabled
                    AND (parent.state = 'down' OR parent.state_changed_at > $1 - interval '2 minutes')
                    AND parent.environment = muted.environment
            )
        END
    )";

/// The problems whose mute has ended and that people should hear of by themselves: they still fire, or their end is due to
/// those who know of them. Each with its group.
///
/// # Errors
/// Any store error.
pub async fn list_ended(
    client: &Client,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<(String, String)>, StoreError> {
    let sql = format!(
        "{ENDED}
        SELECT member.group_key, member.subject
        FROM ended
        JOIN public.notification_members AS member ON member.muted_by = ended.muted_by
            AND (ended.muted_by LIKE 'silence:%' OR member.details #>> '{{problem,environment}}' IS NOT DISTINCT FROM ended.environment)
        WHERE member.state <> 'resolved' OR member.told IN ('firing', 'acknowledged')
        ORDER BY member.group_key, member.subject
        LIMIT $2"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query_typed(&sql, &[(&now, Type::TIMESTAMPTZ), (&limit, Type::INT8)]).await?;
    rows.iter().map(|row| Ok((column(row, "group_key")?, column(row, "subject")?))).collect()
}

/// The silences that have ended and that something began and ended in.
///
/// # Errors
/// Any store error.
pub async fn list_ended_silences(client: &Client, now: DateTime<Utc>) -> Result<Vec<EndedSilence>, StoreError> {
    let sql = format!(
        "{ENDED}
        SELECT due.id, silence.author || ': ' || silence.comment AS reason
        FROM (
            SELECT substr(ended.muted_by, 9)::uuid AS id
            FROM ended
            WHERE ended.muted_by LIKE 'silence:%' AND EXISTS (
                SELECT FROM public.notification_members AS member
                WHERE member.muted_by = ended.muted_by
                    AND member.state = 'resolved' AND coalesce(member.told = 'resolved', true)
            )
        ) AS due
        LEFT JOIN public.silences AS silence ON silence.id = due.id
        ORDER BY due.id
        LIMIT 100"
    );
    let rows = client.query_typed(&sql, &[(&now, Type::TIMESTAMPTZ)]).await?;
    rows.iter().map(|row| Ok(EndedSilence { id: column(row, "id")?, reason: column(row, "reason")? })).collect()
}

/// What began and ended in this silence, with its locks.
///
/// # Errors
/// Any store error.
pub async fn lock_unheard(transaction: &Transaction<'_>, silence: Uuid) -> Result<Vec<Unheard>, StoreError> {
    let sql = "
        SELECT member.group_key, member.subject, member.details, grouped.settings
        FROM public.notification_members AS member
        JOIN public.notification_groups AS grouped USING (group_key)
        WHERE member.muted_by = 'silence:' || $1::uuid::text
            AND member.state = 'resolved' AND coalesce(member.told = 'resolved', true)
        ORDER BY member.group_key, member.subject
        LIMIT 5000
        FOR UPDATE OF member SKIP LOCKED";
    let rows = transaction.query_typed(sql, &[(&silence, Type::UUID)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Unheard {
                group_key: column(row, "group_key")?,
                subject: column(row, "subject")?,
                details: column(row, "details")?,
                settings: column(row, "settings")?,
            })
        })
        .collect()
}

/// Forgets what was told in a summary; what another silence means by now goes on waiting for its end.
///
/// # Errors
/// Any store error.
pub async fn settle_unheard(
    transaction: &Transaction<'_>,
    told: &[&Unheard],
    held: &[(&Unheard, Uuid)],
) -> Result<(), StoreError> {
    let forget = "
        DELETE FROM public.notification_members AS member
        USING unnest($1::text[], $2::text[]) AS told (group_key, subject)
        WHERE member.group_key = told.group_key AND member.subject = told.subject";
    let keep = "
        UPDATE public.notification_members AS member
        SET muted_by = 'silence:' || held.silence
        FROM unnest($1::text[], $2::text[], $3::text[]) AS held (group_key, subject, silence)
        WHERE member.group_key = held.group_key AND member.subject = held.subject";
    let groups: Vec<&str> = told.iter().map(|it| it.group_key.as_str()).collect();
    let subjects: Vec<&str> = told.iter().map(|it| it.subject.as_str()).collect();
    transaction.execute_typed(forget, &[(&groups, Type::TEXT_ARRAY), (&subjects, Type::TEXT_ARRAY)]).await?;
    if !held.is_empty() {
        let groups: Vec<&str> = held.iter().map(|(it, _)| it.group_key.as_str()).collect();
        let subjects: Vec<&str> = held.iter().map(|(it, _)| it.subject.as_str()).collect();
        let silences: Vec<String> = held.iter().map(|(_, silence)| silence.to_string()).collect();
        let parameters =
            [(&groups as _, Type::TEXT_ARRAY), (&subjects as _, Type::TEXT_ARRAY), (&silences as _, Type::TEXT_ARRAY)];
        transaction.execute_typed(keep, &parameters).await?;
    }
    Ok(())
}

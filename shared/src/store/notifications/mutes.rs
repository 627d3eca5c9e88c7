//! Mutes: why notifications of a problem are suppressed, and which mutes have ended. A problem that still fires then is notified;
//! those that have ended are summarised once.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::members::{MEMBER, Member, member_of};
use crate::model::{Labels, Subject};
use crate::store::row::column;
use crate::store::{Client, StoreError};

/// The problems that a parent has muted stay muted for this long after its outage: they may recover with their next check.
pub const RECOVERY: TimeDelta = TimeDelta::minutes(2);

/// Why notifications of a problem are suppressed. Its text is what `notification_members.muted_by` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mute {
    /// This silence matches it.
    Silence(Uuid),
    /// This parent service is down.
    Parent(String),
}

impl Mute {
    /// Parses the stored form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("silence", id) => id.parse().ok().map(Self::Silence),
            ("parent", name) => Some(Self::Parent(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Mute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(id) => write!(formatter, "silence:{id}"),
            Self::Parent(name) => write!(formatter, "parent:{name}"),
        }
    }
}

/// A problem that began and ended in a silence.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedMember {
    /// Its group.
    pub group_key: String,
    /// The problem.
    pub member: Member,
    /// How its group is notified.
    pub settings: Value,
}

/// A silence that has expired or was deleted, with something to summarise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSilence {
    /// Which.
    pub id: Uuid,
    /// Its author and comment; none: it is deleted.
    pub reason: Option<String>,
}

/// The mutes that have ended by $1: of a parent, when its last outage ended before $2. Each is checked once for all of its
/// problems.
const ENDED: &str = "
    WITH muted AS MATERIALIZED (
        SELECT DISTINCT muted_by, CASE WHEN muted_by LIKE 'parent:%' THEN environment END AS environment
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
                    AND (parent.state = 'down' OR parent.state_changed_at > $2)
                    AND parent.environment = muted.environment
            )
        END
    )";

/// The problems whose mute has ended and that are notified one by one: they still fire, or were notified as open. Each with
/// its group.
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
            AND (ended.muted_by LIKE 'silence:%' OR member.environment IS NOT DISTINCT FROM ended.environment)
        WHERE member.state <> 'resolved' OR member.told IN ('firing', 'acknowledged')
        ORDER BY member.group_key, member.subject
        LIMIT $3"
    );
    let (recovered_at, limit) = (now - RECOVERY, i64::try_from(limit).unwrap_or(i64::MAX));
    let parameters =
        [(&now as _, Type::TIMESTAMPTZ), (&recovered_at as _, Type::TIMESTAMPTZ), (&limit as _, Type::INT8)];
    let rows = client.query_typed(&sql, &parameters).await?;
    rows.iter().map(|row| Ok((column(row, "group_key")?, column(row, "subject")?))).collect()
}

/// The ended silences in which a problem began and ended.
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
    let recovered_at = now - RECOVERY;
    let rows = client.query_typed(&sql, &[(&now, Type::TIMESTAMPTZ), (&recovered_at, Type::TIMESTAMPTZ)]).await?;
    rows.iter().map(|row| Ok(EndedSilence { id: column(row, "id")?, reason: column(row, "reason")? })).collect()
}

/// Locks and returns the problems that began and ended in this silence.
///
/// # Errors
/// Any store error.
pub async fn lock_ended_members(transaction: &Transaction<'_>, silence: Uuid) -> Result<Vec<EndedMember>, StoreError> {
    let sql = format!(
        "SELECT member.group_key, {MEMBER}, grouped.settings
        FROM public.notification_members AS member
        JOIN public.notification_groups AS grouped USING (group_key)
        WHERE member.muted_by = 'silence:' || $1::uuid::text
            AND member.state = 'resolved' AND coalesce(member.told = 'resolved', true)
        ORDER BY member.group_key, member.subject
        LIMIT 5000
        FOR UPDATE OF member SKIP LOCKED"
    );
    let rows = transaction.query_typed(&sql, &[(&silence, Type::UUID)]).await?;
    rows.iter()
        .map(|row| {
            Ok(EndedMember {
                group_key: column(row, "group_key")?,
                member: member_of(row)?,
                settings: column(row, "settings")?,
            })
        })
        .collect()
}

/// Deletes the summarised problems; those that another silence matches by now are moved to it.
///
/// # Errors
/// Any store error.
pub async fn settle_ended_members(
    transaction: &Transaction<'_>,
    summarised: &[&EndedMember],
    moved: &[(&EndedMember, Uuid)],
) -> Result<(), StoreError> {
    let forget = "
        DELETE FROM public.notification_members AS member
        USING unnest($1::text[], $2::text[]) AS summarised (group_key, subject)
        WHERE member.group_key = summarised.group_key AND member.subject = summarised.subject";
    let keep = "
        UPDATE public.notification_members AS member
        SET muted_by = 'silence:' || moved.silence
        FROM unnest($1::text[], $2::text[], $3::text[]) AS moved (group_key, subject, silence)
        WHERE member.group_key = moved.group_key AND member.subject = moved.subject";
    let groups: Vec<&str> = summarised.iter().map(|it| it.group_key.as_str()).collect();
    let subjects: Vec<String> = summarised.iter().map(|it| it.member.subject.to_string()).collect();
    transaction.execute_typed(forget, &[(&groups, Type::TEXT_ARRAY), (&subjects, Type::TEXT_ARRAY)]).await?;
    if !moved.is_empty() {
        let groups: Vec<&str> = moved.iter().map(|(it, _)| it.group_key.as_str()).collect();
        let subjects: Vec<String> = moved.iter().map(|(it, _)| it.member.subject.to_string()).collect();
        let silences: Vec<String> = moved.iter().map(|(_, silence)| silence.to_string()).collect();
        let parameters =
            [(&groups as _, Type::TEXT_ARRAY), (&subjects as _, Type::TEXT_ARRAY), (&silences as _, Type::TEXT_ARRAY)];
        transaction.execute_typed(keep, &parameters).await?;
    }
    Ok(())
}

/// The open problems of a group that are not muted, with what silences match. Unreadable rows are omitted.
///
/// # Errors
/// Any store error.
pub async fn list_unmuted(
    transaction: &Transaction<'_>,
    group_key: &str,
) -> Result<Vec<(Subject, Labels)>, StoreError> {
    let sql = "
        SELECT subject, coalesce(labels, details -> 'labels', 'null') AS labels
        FROM public.notification_members
        WHERE group_key = $1 AND muted_by IS NULL AND state <> 'resolved'";
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT)]).await?;
    let mut unmuted = Vec::with_capacity(rows.len());
    for row in &rows {
        let subject = Subject::parse(column(row, "subject")?);
        let labels = serde_json::from_value(column(row, "labels")?).ok();
        unmuted.extend(subject.zip(labels));
    }
    Ok(unmuted)
}

/// Mutes these problems of a group.
///
/// # Errors
/// Any store error.
pub async fn mute(transaction: &Transaction<'_>, group_key: &str, muted: &[(Subject, Mute)]) -> Result<(), StoreError> {
    if muted.is_empty() {
        return Ok(());
    }
    let sql = "
        UPDATE public.notification_members AS member
        SET muted_by = muted.muted_by
        FROM unnest($2::text[], $3::text[]) AS muted (subject, muted_by)
        WHERE member.group_key = $1 AND member.subject = muted.subject";
    let subjects: Vec<String> = muted.iter().map(|(subject, _)| subject.to_string()).collect();
    let mutes: Vec<String> = muted.iter().map(|(_, mute)| mute.to_string()).collect();
    let parameters =
        [(&group_key as _, Type::TEXT), (&subjects as _, Type::TEXT_ARRAY), (&mutes as _, Type::TEXT_ARRAY)];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

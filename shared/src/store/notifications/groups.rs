//! `notification_groups` and `notification_members`: what is told together, and what people know of it.
//!
//! Everything here runs in a transaction that holds the group's lock ([`lock`], [`lock_known`]), so that two who look at one
//! group decide one after the other. A member whose end was told, or that ended before anybody was told, has no row any more.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::store::row::column;
use crate::store::{Client, StoreError};

/// A group, as it was when its lock was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// How it is told.
    pub settings: Value,
    /// When the first problem came that nobody was told of.
    pub first_seen_at: DateTime<Utc>,
    /// When people were told of something last.
    pub last_told_at: Option<DateTime<Utc>>,
    /// When it is looked at again.
    pub due_at: Option<DateTime<Utc>>,
    /// Who knows of something in it that is not over.
    pub told: Vec<String>,
}

/// One problem of a group. The words of `state` and `told` are `firing`, `acknowledged` and `resolved`.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// `incident:INC-…` or `alert:UUID`.
    pub subject: String,
    /// Where it stands.
    pub state: String,
    /// What people know of it.
    pub told: Option<String>,
    /// Why nobody is told.
    pub muted_by: Option<String>,
    /// What a message says of it.
    pub details: Value,
    /// When it began, or came back.
    pub fired_at: DateTime<Utc>,
    /// People think that somebody is on it, but it has ended since and come back.
    pub renewed: bool,
}

/// How many problems of a group stand how. Those that are muted are left out, but for the last two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Not over.
    pub active: i64,
    /// Not over, and nobody is on it.
    pub unacknowledged: i64,
    /// Not over, and people don't know that, or think that somebody is still on it.
    pub new: i64,
    /// People think that it is not over.
    pub known: i64,
    /// People think that it is not over, but it is.
    pub ended: i64,
    /// People think that nobody is on it, but somebody is.
    pub taken: i64,
    /// Muted, not over, and people know.
    pub muted_known: i64,
    /// Muted, over, and people think that it is not.
    pub muted_ended: i64,
}

/// What people are told of a group, as far as it changes what they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Everything.
    All,
    /// Only that somebody is on some of it.
    Taken,
}

/// Which problems a message names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Those that are not over, the new ones first.
    Active,
    /// Those that are over, and those that are not.
    Changed,
    /// Those that somebody has taken.
    Taken,
    /// Those that are over.
    Ended,
    /// Those that are over, while a mute keeps people from knowing.
    EndedMuted,
}

const GROUP: &str = "settings, first_seen_at, last_told_at, due_at, told";
const MEMBER: &str = "subject, state, told, muted_by, details, fired_at, renewed";

/// Takes the lock of a group, which is made if there is none; it is told in this way from now on.
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

/// Takes the lock of a group that is there.
///
/// # Errors
/// Any store error.
pub async fn lock_known(transaction: &Transaction<'_>, group_key: &str) -> Result<Option<Group>, StoreError> {
    let sql = format!("SELECT {GROUP} FROM public.notification_groups WHERE group_key = $1 FOR UPDATE");
    let rows = transaction.query_typed(&sql, &[(&group_key, Type::TEXT)]).await?;
    rows.first().map(group_of).transpose()
}

/// The groups that a subject is in, those first that were made first.
///
/// # Errors
/// Any store error.
pub async fn list_of_subject(client: &Client, subject: &str) -> Result<Vec<String>, StoreError> {
    let sql = "
        SELECT member.group_key
        FROM public.notification_members AS member
        JOIN public.notification_groups AS grouped USING (group_key)
        WHERE member.subject = $1
        ORDER BY grouped.first_seen_at, member.group_key
        LIMIT 200";
    let rows = client.query_typed(sql, &[(&subject, Type::TEXT)]).await?;
    rows.iter().map(|row| column(row, "group_key")).collect()
}

/// A problem of a group, if it is one.
///
/// # Errors
/// Any store error.
pub async fn find_member(
    transaction: &Transaction<'_>,
    group_key: &str,
    subject: &str,
) -> Result<Option<Member>, StoreError> {
    let sql = format!("SELECT {MEMBER} FROM public.notification_members WHERE group_key = $1 AND subject = $2");
    let rows = transaction.query_typed(&sql, &[(&group_key, Type::TEXT), (&subject, Type::TEXT)]).await?;
    rows.first().map(member_of).transpose()
}

/// Stores where a problem of a group stands; what people know of it stays, unless it says otherwise.
///
/// # Errors
/// Any store error.
pub async fn upsert_member(
    transaction: &Transaction<'_>,
    group_key: &str,
    member: &Member,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "
        INSERT INTO public.notification_members
            (group_key, subject, state, told, muted_by, details, fired_at, changed_at, renewed)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (group_key, subject) DO UPDATE SET
            state = EXCLUDED.state, told = EXCLUDED.told, muted_by = EXCLUDED.muted_by, details = EXCLUDED.details,
            fired_at = EXCLUDED.fired_at, changed_at = EXCLUDED.changed_at, renewed = EXCLUDED.renewed";
    let parameters = [
        (&group_key as _, Type::TEXT),
        (&member.subject as _, Type::TEXT),
        (&member.state as _, Type::TEXT),
        (&member.told as _, Type::TEXT),
        (&member.muted_by as _, Type::TEXT),
        (&member.details as _, Type::JSONB),
        (&member.fired_at as _, Type::TIMESTAMPTZ),
        (&now as _, Type::TIMESTAMPTZ),
        (&member.renewed as _, Type::BOOL),
    ];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Forgets a problem that nobody was told of, and that is over.
///
/// # Errors
/// Any store error.
pub async fn delete_member(transaction: &Transaction<'_>, group_key: &str, subject: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM public.notification_members WHERE group_key = $1 AND subject = $2";
    transaction.execute_typed(sql, &[(&group_key, Type::TEXT), (&subject, Type::TEXT)]).await?;
    Ok(())
}

/// How many problems of a group stand how.
///
/// # Errors
/// Any store error.
pub async fn count_members(transaction: &Transaction<'_>, group_key: &str) -> Result<Counted, StoreError> {
    let sql = "
        SELECT
            count(*) FILTER (WHERE heard AND active) AS active,
            count(*) FILTER (WHERE heard AND state = 'firing') AS unacknowledged,
            count(*) FILTER (WHERE heard AND active AND (renewed OR NOT known)) AS new,
            count(*) FILTER (WHERE heard AND known) AS known,
            count(*) FILTER (WHERE heard AND known AND NOT active) AS ended,
            count(*) FILTER (WHERE heard AND state = 'acknowledged' AND told = 'firing') AS taken,
            count(*) FILTER (WHERE NOT heard AND active AND known) AS muted_known,
            count(*) FILTER (WHERE NOT heard AND NOT active AND known) AS muted_ended
        FROM (
            SELECT state, told, renewed, muted_by IS NULL AS heard, state <> 'resolved' AS active,
                coalesce(told <> 'resolved', false) AS known
            FROM public.notification_members
            WHERE group_key = $1
        ) AS member";
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Ok(Counted::default()) };
    Ok(Counted {
        active: column(row, "active")?,
        unacknowledged: column(row, "unacknowledged")?,
        new: column(row, "new")?,
        known: column(row, "known")?,
        ended: column(row, "ended")?,
        taken: column(row, "taken")?,
        muted_known: column(row, "muted_known")?,
        muted_ended: column(row, "muted_ended")?,
    })
}

/// The problems of a group that a message names, at most so many, and how many there are. The new and the worst come first.
///
/// # Errors
/// Any store error.
pub async fn list_members(
    transaction: &Transaction<'_>,
    group_key: &str,
    named: Named,
    limit: usize,
) -> Result<(Vec<Member>, i64), StoreError> {
    let known = "told IN ('firing', 'acknowledged')";
    let condition = match named {
        Named::Active => "muted_by IS NULL AND state <> 'resolved'".to_owned(),
        Named::Changed => format!("muted_by IS NULL AND (state <> 'resolved' OR {known})"),
        Named::Taken => "muted_by IS NULL AND state = 'acknowledged' AND told = 'firing'".to_owned(),
        Named::Ended => format!("muted_by IS NULL AND state = 'resolved' AND {known}"),
        Named::EndedMuted => format!("muted_by IS NOT NULL AND state = 'resolved' AND {known}"),
    };
    let sql = format!(
        "SELECT {MEMBER}, count(*) OVER () AS total
        FROM public.notification_members
        WHERE group_key = $1 AND {condition}
        ORDER BY
            told IS NOT DISTINCT FROM state, state = 'resolved',
            array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], details #>> '{{problem,severity}}'), fired_at
        LIMIT $2"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = transaction.query_typed(&sql, &[(&group_key, Type::TEXT), (&limit, Type::INT8)]).await?;
    let total = rows.first().map_or(Ok(0), |row| column(row, "total"))?;
    Ok((rows.iter().map(member_of).collect::<Result<_, _>>()?, total))
}

/// Remembers that people were told; what is over and not muted is forgotten with it.
///
/// # Errors
/// Any store error.
pub async fn mark_told(transaction: &Transaction<'_>, group_key: &str, told: Told) -> Result<(), StoreError> {
    let sql = match told {
        Told::All => {
            "WITH over AS (
                DELETE FROM public.notification_members
                WHERE group_key = $1 AND muted_by IS NULL AND state = 'resolved'
            )
            UPDATE public.notification_members SET told = state, renewed = false
            WHERE group_key = $1 AND muted_by IS NULL AND state <> 'resolved'
                AND (renewed OR told IS DISTINCT FROM state)"
        }
        Told::Taken => {
            "UPDATE public.notification_members SET told = state
            WHERE group_key = $1 AND muted_by IS NULL AND state = 'acknowledged' AND told = 'firing'"
        }
    };
    transaction.execute_typed(sql, &[(&group_key, Type::TEXT)]).await?;
    Ok(())
}

/// Whether something was told of a group already by one of these events.
///
/// # Errors
/// Any store error.
pub async fn has_told(transaction: &Transaction<'_>, group_key: &str, events: &[Uuid]) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM public.notifications WHERE event_id = ANY($2) AND group_key = $1) AS told";
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT), (&events, Type::UUID_ARRAY)]).await?;
    rows.first().map_or(Ok(false), |row| column(row, "told"))
}

/// Stores what has become of a group.
///
/// # Errors
/// Any store error.
pub async fn update(transaction: &Transaction<'_>, group_key: &str, group: &Group) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.notification_groups
        SET first_seen_at = $2, last_told_at = $3, due_at = $4, told = $5
        WHERE group_key = $1
            AND (first_seen_at, last_told_at, due_at, told) IS DISTINCT FROM ($2, $3, $4, $5)";
    let parameters = [
        (&group_key as _, Type::TEXT),
        (&group.first_seen_at as _, Type::TIMESTAMPTZ),
        (&group.last_told_at as _, Type::TIMESTAMPTZ),
        (&group.due_at as _, Type::TIMESTAMPTZ),
        (&group.told as _, Type::TEXT_ARRAY),
    ];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Whether somebody should still react: whether a problem of the group that nobody has taken is open and not muted.
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
    Ok(Group {
        settings: column(row, "settings")?,
        first_seen_at: column(row, "first_seen_at")?,
        last_told_at: column(row, "last_told_at")?,
        due_at: column(row, "due_at")?,
        told: column(row, "told")?,
    })
}

pub(super) fn member_of(row: &Row) -> Result<Member, StoreError> {
    Ok(Member {
        subject: column(row, "subject")?,
        state: column(row, "state")?,
        told: column(row, "told")?,
        muted_by: column(row, "muted_by")?,
        details: column(row, "details")?,
        fired_at: column(row, "fired_at")?,
        renewed: column(row, "renewed")?,
    })
}

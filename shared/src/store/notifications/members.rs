//! `notification_members`: the problems of a group, and the state of each that was notified.
//!
//! Everything here runs in a transaction that has locked the group ([`super::groups`]). A member is deleted when its end was
//! notified, or when it ended before its first notification.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::mutes::Mute;
use crate::model::{IncidentStatus, Labels, Receiver, Subject};
use crate::store::StoreError;
use crate::store::row::{column, word};

/// The state of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemState {
    /// Open and unacknowledged.
    Firing,
    /// A person works on it.
    Acknowledged,
    /// It has ended.
    Resolved,
}

impl ProblemState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Firing, Self::Acknowledged, Self::Resolved];

    /// The spelling in columns and webhooks.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The state of exactly this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl From<IncidentStatus> for ProblemState {
    fn from(status: IncidentStatus) -> Self {
        match status {
            IncidentStatus::Detected => Self::Firing,
            IncidentStatus::Acknowledged => Self::Acknowledged,
            IncidentStatus::Resolved => Self::Resolved,
        }
    }
}

/// One problem of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Which problem.
    pub subject: Subject,
    /// Its current state.
    pub state: ProblemState,
    /// The state that was notified last.
    pub notified: Option<ProblemState>,
    /// Why notifications of it are suppressed.
    pub muted_by: Option<Mute>,
    /// What silences match; none: the row can't be parsed.
    pub labels: Option<Labels>,
    /// What a notification says of it.
    pub problem: Value,
    /// When it began, or was reopened.
    pub fired_at: DateTime<Utc>,
    /// Notified as acknowledged, but it has ended since and was reopened.
    pub renewed: bool,
}

impl Member {
    /// Whether it is open.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state != ProblemState::Resolved
    }

    /// Whether it can be deleted: it has ended, was not notified as open, and no summary needs it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.is_active() && !self.is_known() && self.muted_by.is_none()
    }

    /// Whether it was notified as open.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.notified, Some(ProblemState::Firing | ProblemState::Acknowledged))
    }
}

/// How many problems of a group are in which state. Muted ones are counted by the last two only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open.
    pub active: i64,
    /// Open and unacknowledged.
    pub unacknowledged: i64,
    /// Open, but not notified as open, or reopened since it was notified as acknowledged.
    pub new: i64,
    /// Notified as open.
    pub known: i64,
    /// Ended, but notified as open.
    pub ended: i64,
    /// Acknowledged, but notified as firing.
    pub taken: i64,
    /// Muted, open, and notified as open.
    pub muted_known: i64,
    /// Muted, ended, but notified as open.
    pub muted_ended: i64,
}

impl Counts {
    /// Whether a member was notified as open.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.known + self.muted_known + self.muted_ended > 0
    }

    /// The members that are open, or were notified as open.
    #[must_use]
    pub fn total(self) -> i64 {
        self.active + self.ended + self.muted_known + self.muted_ended
    }

    /// Counts one more member, as `count_members.sql` does.
    pub fn add(&mut self, member: &Member) {
        let (is_active, is_known) = (member.is_active(), member.is_known());
        if member.muted_by.is_some() {
            self.muted_known += i64::from(is_active && is_known);
            self.muted_ended += i64::from(!is_active && is_known);
            return;
        }
        let is_taken = member.state == ProblemState::Acknowledged && member.notified == Some(ProblemState::Firing);
        self.active += i64::from(is_active);
        self.unacknowledged += i64::from(member.state == ProblemState::Firing);
        self.new += i64::from(is_active && (member.renewed || !is_known));
        self.known += i64::from(is_known);
        self.ended += i64::from(is_known && !is_active);
        self.taken += i64::from(is_taken);
    }
}

/// What [`count`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// The members.
    pub counts: Counts,
    /// The `PagerDuty` receivers whose incident of this group is acknowledged there, by what was sent last.
    pub acknowledged_pages: Vec<Receiver>,
}

/// Which changes a notification reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notified {
    /// All changes.
    All,
    /// Only acknowledgements.
    Acknowledgements,
}

/// Which problems a notification names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The open ones, the new ones first.
    Active,
    /// The open ones and the ended ones.
    Changed,
    /// The acknowledged ones.
    Taken,
    /// The ended ones.
    Ended,
    /// The ended ones whose notification a mute suppresses.
    EndedMuted,
}

// Binaries before the columns `severity`, `environment` and `labels` wrote `details` only.
pub(super) const MEMBER: &str = "member.subject, member.state, member.told, member.muted_by, member.details,
    coalesce(member.labels, member.details -> 'labels') AS labels, member.fired_at, member.renewed";

/// A problem of a group, if it is one.
///
/// # Errors
/// Any store error.
pub async fn find(
    transaction: &Transaction<'_>,
    group_key: &str,
    subject: &Subject,
) -> Result<Option<Member>, StoreError> {
    let sql = format!(
        "SELECT {MEMBER} FROM public.notification_members AS member WHERE member.group_key = $1 AND member.subject = $2"
    );
    let subject = subject.to_string();
    let rows = transaction.query_typed(&sql, &[(&group_key, Type::TEXT), (&subject, Type::TEXT)]).await?;
    rows.first().map(member_of).transpose()
}

/// Stores a problem of a group.
///
/// # Errors
/// Any store error.
pub async fn upsert(
    transaction: &Transaction<'_>,
    group_key: &str,
    member: &Member,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "
        INSERT INTO public.notification_members
            (group_key, subject, state, told, muted_by, details, fired_at, changed_at, renewed, labels, severity, environment)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10 ->> 'severity', $10 ->> 'environment')
        ON CONFLICT (group_key, subject) DO UPDATE SET
            state = EXCLUDED.state, told = EXCLUDED.told, muted_by = EXCLUDED.muted_by, details = EXCLUDED.details,
            fired_at = EXCLUDED.fired_at, changed_at = EXCLUDED.changed_at, renewed = EXCLUDED.renewed,
            labels = EXCLUDED.labels, severity = EXCLUDED.severity, environment = EXCLUDED.environment";
    let labels = serde_json::to_value(&member.labels).map_err(StoreError::internal)?;
    // The binaries of the release before read the labels here.
    let details = json!({"labels": labels, "problem": member.problem});
    let parameters = [
        (&group_key as _, Type::TEXT),
        (&member.subject.to_string() as _, Type::TEXT),
        (&member.state.as_str() as _, Type::TEXT),
        (&member.notified.map(ProblemState::as_str) as _, Type::TEXT),
        (&member.muted_by.as_ref().map(ToString::to_string) as _, Type::TEXT),
        (&details as _, Type::JSONB),
        (&member.fired_at as _, Type::TIMESTAMPTZ),
        (&now as _, Type::TIMESTAMPTZ),
        (&member.renewed as _, Type::BOOL),
        (&labels as _, Type::JSONB),
    ];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Deletes a problem of a group: its incident is deleted, or it has ended and was not notified as open.
///
/// # Errors
/// Any store error.
pub async fn delete(transaction: &Transaction<'_>, group_key: &str, subject: &Subject) -> Result<(), StoreError> {
    let sql = "DELETE FROM public.notification_members WHERE group_key = $1 AND subject = $2";
    transaction.execute_typed(sql, &[(&group_key, Type::TEXT), (&subject.to_string(), Type::TEXT)]).await?;
    Ok(())
}

/// Counts the problems of a group by state, but for one that the caller counts itself.
///
/// # Errors
/// Any store error.
pub async fn count(
    transaction: &Transaction<'_>,
    group_key: &str,
    except: Option<&Subject>,
) -> Result<Counted, StoreError> {
    let sql = include_str!("../sql/count_members.sql");
    let except = except.map(ToString::to_string);
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT), (&except, Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Ok(Counted::default()) };
    let counts = Counts {
        active: column(row, "active")?,
        unacknowledged: column(row, "unacknowledged")?,
        new: column(row, "new")?,
        known: column(row, "known")?,
        ended: column(row, "ended")?,
        taken: column(row, "taken")?,
        muted_known: column(row, "muted_known")?,
        muted_ended: column(row, "muted_ended")?,
    };
    let pages: Vec<String> = column(row, "acknowledged_pages")?;
    let acknowledged_pages = pages.iter().filter_map(|page| Receiver::parse(&format!("pagerduty:{page}")).ok());
    Ok(Counted { counts, acknowledged_pages: acknowledged_pages.collect() })
}

/// The problems of a group that a notification names, at most `limit`, and their total number. The new and the most severe
/// come first.
///
/// # Errors
/// Any store error.
pub async fn list(
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
        FROM public.notification_members AS member
        WHERE group_key = $1 AND {condition}
        ORDER BY
            told IS NOT DISTINCT FROM state, state = 'resolved',
            array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], severity), fired_at
        LIMIT $2"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = transaction.query_typed(&sql, &[(&group_key, Type::TEXT), (&limit, Type::INT8)]).await?;
    let total = rows.first().map_or(Ok(0), |row| column(row, "total"))?;
    Ok((rows.iter().map(member_of).collect::<Result<_, _>>()?, total))
}

/// Marks the problems of a group as notified; ended ones that are not muted are deleted.
///
/// # Errors
/// Any store error.
pub async fn mark_notified(
    transaction: &Transaction<'_>,
    group_key: &str,
    notified: Notified,
) -> Result<(), StoreError> {
    let sql = match notified {
        Notified::All => {
            "WITH over AS (
                DELETE FROM public.notification_members
                WHERE group_key = $1 AND muted_by IS NULL AND state = 'resolved'
            )
            UPDATE public.notification_members SET told = state, renewed = false
            WHERE group_key = $1 AND muted_by IS NULL AND state <> 'resolved'
                AND (renewed OR told IS DISTINCT FROM state)"
        }
        Notified::Acknowledgements => {
            "UPDATE public.notification_members SET told = state
            WHERE group_key = $1 AND muted_by IS NULL AND state = 'acknowledged' AND told = 'firing'"
        }
    };
    transaction.execute_typed(sql, &[(&group_key, Type::TEXT)]).await?;
    Ok(())
}

pub(super) fn member_of(row: &Row) -> Result<Member, StoreError> {
    let subject: &str = column(row, "subject")?;
    let notified: Option<&str> = column(row, "told")?;
    let muted_by: Option<&str> = column(row, "muted_by")?;
    let labels: Option<Value> = column(row, "labels")?;
    let mut details: Value = column(row, "details")?;
    Ok(Member {
        subject: Subject::parse(subject)
            .ok_or_else(|| StoreError::Internal(format!("{subject:?} names no problem").into()))?,
        state: word(row, "state", ProblemState::parse)?,
        notified: notified.and_then(ProblemState::parse),
        muted_by: muted_by.and_then(Mute::parse),
        labels: labels.and_then(|labels| serde_json::from_value(labels).ok()),
        problem: details["problem"].take(),
        fired_at: column(row, "fired_at")?,
        renewed: column(row, "renewed")?,
    })
}

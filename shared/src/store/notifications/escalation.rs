//! `escalations`, as far as telling begins and ends them. `dispatch` climbs them.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::types::Type;

use crate::model::EscalationPolicy;
use crate::store::StoreError;
use crate::store::row::column;

/// Begins a group's ladder. One that is being climbed goes on, unless it `restarts`: people were told of the end of what it
/// was about.
///
/// # Errors
/// Any store error.
pub async fn start(
    transaction: &Transaction<'_>,
    group_key: &str,
    policy: &EscalationPolicy,
    restarts: bool,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(first) = policy.steps.first() else { return Ok(()) };
    let steps = serde_json::to_value(&policy.steps).unwrap_or(Value::Array(Vec::new()));
    let next_at = now + chrono::TimeDelta::seconds(first.after_seconds.into());
    let sql = "
        INSERT INTO public.escalations AS known (group_key, policy, steps, next_step, next_at, started_at)
        VALUES ($1, $2, $3, 0, $4, $5)
        ON CONFLICT (group_key) DO UPDATE SET
            policy = EXCLUDED.policy, steps = EXCLUDED.steps, next_step = 0, next_at = EXCLUDED.next_at,
            started_at = EXCLUDED.started_at, ended_at = NULL, ended_by = NULL
        WHERE $6 OR known.ended_at IS NOT NULL OR known.next_at IS NULL";
    let parameters = [
        (&group_key as _, Type::TEXT),
        (&policy.name as _, Type::TEXT),
        (&steps as _, Type::JSONB),
        (&next_at as _, Type::TIMESTAMPTZ),
        (&now as _, Type::TIMESTAMPTZ),
        (&restarts as _, Type::BOOL),
    ];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Ends a group's ladder: somebody is on everything in it, or all of it is over.
///
/// # Errors
/// Any store error.
pub async fn end(
    transaction: &Transaction<'_>,
    group_key: &str,
    by: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.escalations SET ended_at = $2, ended_by = $3, next_at = NULL
        WHERE group_key = $1 AND ended_at IS NULL";
    let parameters = [(&group_key as _, Type::TEXT), (&now as _, Type::TIMESTAMPTZ), (&by as _, Type::TEXT)];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Begins a group's ladder anew if it has ended: what it was about is there again, or still. One that is being climbed, or
/// was climbed to its end, is left as it is.
///
/// # Errors
/// Any store error.
pub async fn revive(
    transaction: &Transaction<'_>,
    group_key: &str,
    policy: &EscalationPolicy,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM public.escalations WHERE group_key = $1 AND ended_at IS NOT NULL) AS ended";
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT)]).await?;
    if rows.first().map_or(Ok(false), |row| column(row, "ended"))? {
        start(transaction, group_key, policy, true, now).await?;
    }
    Ok(())
}

/// Whether a group's ladder is being climbed and has come to this step.
///
/// # Errors
/// Any store error.
pub async fn is_climbed(transaction: &Transaction<'_>, group_key: &str, step: u32) -> Result<bool, StoreError> {
    let sql = "
        SELECT EXISTS (
            SELECT FROM public.escalations WHERE group_key = $1 AND ended_at IS NULL AND next_step >= $2
        ) AS climbed";
    let step = i32::try_from(step).unwrap_or(i32::MAX);
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT), (&step, Type::INT4)]).await?;
    rows.first().map_or(Ok(false), |row| column(row, "climbed"))
}

/// Takes back a step that was not told because all that nobody is on is muted: `dispatch` looks again then.
///
/// # Errors
/// Any store error.
pub async fn put_back(
    transaction: &Transaction<'_>,
    group_key: &str,
    step: u32,
    next_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.escalations SET next_step = $2 - 1, next_at = $3
        WHERE group_key = $1 AND next_step = $2 AND ended_at IS NULL AND EXISTS (
            SELECT FROM public.notification_members WHERE group_key = $1 AND state = 'firing' AND muted_by IS NOT NULL
        )";
    let step = i32::try_from(step).unwrap_or(i32::MAX);
    let parameters = [(&group_key as _, Type::TEXT), (&step as _, Type::INT4), (&next_at as _, Type::TIMESTAMPTZ)];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

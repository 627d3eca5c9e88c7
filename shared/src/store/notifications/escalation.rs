//! `escalations`, as far as `notify` starts and ends them. `dispatch` takes their steps.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use serde_json::Value;
use tokio_postgres::types::Type;

use crate::model::EscalationPolicy;
use crate::store::StoreError;
use crate::store::row::column;

/// Starts a group's escalation. A running one continues, unless it `restarts`: the end of its problems was notified.
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

/// Ends a group's escalation: everything in it is acknowledged or resolved.
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

/// Restarts a group's escalation if it has ended: a problem was reopened, or is still open. A running one, and one that has
/// taken its last step, is unchanged.
///
/// # Errors
/// Any store error.
pub async fn restart_ended(
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

/// Whether a group's escalation runs and has reached this step.
///
/// # Errors
/// Any store error.
pub async fn has_reached(transaction: &Transaction<'_>, group_key: &str, step: u32) -> Result<bool, StoreError> {
    let sql = "
        SELECT EXISTS (
            SELECT FROM public.escalations WHERE group_key = $1 AND ended_at IS NULL AND next_step >= $2
        ) AS reached";
    let step = i32::try_from(step).unwrap_or(i32::MAX);
    let rows = transaction.query_typed(sql, &[(&group_key, Type::TEXT), (&step, Type::INT4)]).await?;
    rows.first().map_or(Ok(false), |row| column(row, "reached"))
}

/// Postpones a step that was not notified because everything unacknowledged is muted: `dispatch` retries it then.
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

//! The services that are probed, as operators configure them. What the probe does with them: [`super::probing`].

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::{Kind, RecentVerdicts, Service, ServiceSpec, ServiceState, Standing};

/// Who configured a service; the environment's defaults never overwrite what an operator wrote in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `watchkeeper apply`.
    File,
    /// `BACKEND_API_URL`, `ADMIN_CONSOLE_URL`.
    Environment,
}

impl Origin {
    /// The spelling in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Environment => "environment",
        }
    }
}

/// Creates or changes the services, all or none; returns how many were new or different.
///
/// # Errors
/// Any store error.
pub async fn upsert(
    client: &Client,
    services: &[ServiceSpec],
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let rows: Vec<Value> = services.iter().map(row_of).collect();
    let rows = client
        .query_typed(
            include_str!("sql/upsert_services.sql"),
            &[(&Value::Array(rows), Type::JSONB), (&origin.as_str(), Type::TEXT), (&now, Type::TIMESTAMPTZ)],
        )
        .await?;
    let changed: i64 = rows.first().map_or(Ok(0), |row| column(row, "changed"))?;
    Ok(u64::try_from(changed).unwrap_or_default())
}

/// One record of the statement's input.
fn row_of(spec: &ServiceSpec) -> Value {
    json!({
        "name": spec.name,
        "environment": spec.environment,
        "application": spec.application,
        "group_name": spec.group,
        "kind": spec.kind,
        "target": spec.target,
        "timeout_ms": u64::try_from(spec.timeout.as_millis()).unwrap_or(u64::MAX),
        "interval_seconds": spec.interval.map(|interval| interval.as_secs()),
        "enabled": spec.enabled,
        "settings": spec.check,
        "policy": spec.policy,
    })
}

/// A service with what was seen of it last.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The service.
    pub service: Service,
    /// When it was last checked.
    pub last_checked_at: Option<DateTime<Utc>>,
}

/// All enabled services, by environment and name; at most 10,000. One that has not been checked for three of its
/// intervals is unknown, whatever it was.
///
/// # Errors
/// Any store error.
pub async fn list(client: &Client, now: DateTime<Utc>) -> Result<Vec<Listed>, StoreError> {
    let sql = concat!(
        include_str!("sql/switches.sql"),
        "SELECT id, name::text AS name, environment, application::text AS application,
            group_name::text AS group_name, kind, target, timeout_ms, interval_seconds, enabled, settings, policy,
            revision, state_changed_at, consecutive_failures, consecutive_degraded, consecutive_successes,
            failing_since, recent_failed, recent_known, flapping, down_alerted_at, degraded_alerted_at,
            CASE
                WHEN last_checked_at < $1 - make_interval(
                    secs => 3 * coalesce(interval_seconds, default_interval)::double precision
                ) THEN 'unknown'
                ELSE state
            END AS state,
            last_checked_at
        FROM public.services
        CROSS JOIN switches
        WHERE enabled
        ORDER BY environment, name
        LIMIT 10000"
    );
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ)]).await?;
    rows.iter()
        .map(|row| Ok(Listed { service: service_of(row)?, last_checked_at: column(row, "last_checked_at")? }))
        .collect()
}

/// The columns that every statement about services brings.
pub(super) fn service_of(row: &Row) -> Result<Service, StoreError> {
    let count = |name: &str| column::<i32>(row, name).map(|count| u32::try_from(count).unwrap_or_default());
    let interval: Option<i32> = column(row, "interval_seconds")?;
    let Json(check) = column(row, "settings")?;
    let Json(policy) = column(row, "policy")?;
    Ok(Service {
        id: column(row, "id")?,
        spec: ServiceSpec {
            name: column(row, "name")?,
            environment: column(row, "environment")?,
            application: column(row, "application")?,
            group: column(row, "group_name")?,
            kind: word(row, "kind", Kind::parse)?,
            target: column(row, "target")?,
            timeout: Duration::from_millis(count("timeout_ms")?.into()),
            interval: interval.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default())),
            enabled: column(row, "enabled")?,
            check,
            policy,
        },
        standing: Standing {
            revision: column(row, "revision")?,
            state: word(row, "state", ServiceState::parse)?,
            state_changed_at: column(row, "state_changed_at")?,
            consecutive_failures: count("consecutive_failures")?,
            consecutive_degraded: count("consecutive_degraded")?,
            consecutive_successes: count("consecutive_successes")?,
            failing_since: column(row, "failing_since")?,
            recent: RecentVerdicts {
                failed: count("recent_failed")?,
                known: u8::try_from(count("recent_known")?).unwrap_or_default(),
            },
            flapping: column(row, "flapping")?,
            down_alerted_at: column(row, "down_alerted_at")?,
            degraded_alerted_at: column(row, "degraded_alerted_at")?,
        },
    })
}

//! Services as operators configure them. The probe claims them through [`super::probing`].

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::{
    BreakerState, FileName, Kind, RecentVerdicts, Routing, Service, ServiceSpec, ServiceState, Standing,
};

/// Where a service's configuration comes from. The environment's defaults never overwrite a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `watchkeeper apply`.
    File,
    /// `BACKEND_API_URL`, `ADMIN_CONSOLE_URL`.
    Environment,
}

impl Origin {
    /// The value in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Environment => "environment",
        }
    }

    /// The origin with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::File, Self::Environment].into_iter().find(|origin| origin.as_str() == text)
    }
}

/// The desired services and routes.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The services to create or update.
    pub services: &'a [ServiceSpec],
    /// The token hashes of heartbeats, by their index in `services`.
    pub token_hashes: &'a BTreeMap<usize, String>,
    /// The services to remove, by name and environment; only those of the same file are removed.
    pub removed: &'a [(String, String)],
    /// Routes and escalation policies; none = unchanged.
    pub routing: Option<&'a Routing>,
}

/// The file that is applied.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name, stored with the services and the routes.
    pub file: &'a FileName,
    /// Whether it defines the routes, even if they are unchanged.
    pub owns_routing: bool,
}

/// The result of applying a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Services created or updated.
    pub changed: u64,
    /// Services removed.
    pub removed: u64,
}

/// Creates or updates the services, all or none; returns how many changed. Idempotent.
///
/// # Errors
/// Any store error.
pub async fn upsert(
    client: &Client,
    services: &[ServiceSpec],
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let wanted = Wanted { services, token_hashes: &BTreeMap::new(), removed: &[], routing: None };
    Ok(write(client, &wanted, None, origin, now).await?.changed)
}

/// Applies services and routes from a file without a name, as [`apply_from`].
///
/// # Errors
/// Any store error.
pub async fn apply(client: &Client, wanted: &Wanted<'_>, now: DateTime<Utc>) -> Result<Applied, StoreError> {
    write(client, wanted, None, Origin::File, now).await
}

/// Applies this file's services and routes, all or none, in one statement. Open incidents and alerts of removed or
/// disabled services are resolved, with their events. Idempotent.
///
/// # Errors
/// Any store error.
pub async fn apply_from(
    client: &Client,
    source: Source<'_>,
    wanted: &Wanted<'_>,
    now: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    write(client, wanted, Some(source), Origin::File, now).await
}

async fn write(
    client: &Client,
    wanted: &Wanted<'_>,
    source: Option<Source<'_>>,
    origin: Origin,
    now: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    let hash = |place: usize| wanted.token_hashes.get(&place).map(String::as_str);
    let given: Vec<Value> = wanted.services.iter().enumerate().map(|(place, spec)| row_of(spec, hash(place))).collect();
    let removed: Vec<Value> =
        wanted.removed.iter().map(|(name, environment)| json!({ "name": name, "environment": environment })).collect();
    let rows = client
        .query_typed(
            include_str!("sql/upsert_services.sql"),
            &[
                (&Value::Array(given), Type::JSONB),
                (&origin.as_str(), Type::TEXT),
                (&now, Type::TIMESTAMPTZ),
                (&Value::Array(removed), Type::JSONB),
                (&wanted.routing.map(Json), Type::JSONB),
                (&Routing::KEY, Type::TEXT),
                (&source.map(|source| source.file.as_str()), Type::TEXT),
                (&source.is_some_and(|source| source.owns_routing), Type::BOOL),
                (&Routing::FILE_KEY, Type::TEXT),
            ],
        )
        .await?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("the statement returned no row".into()))?;
    let count = |name: &str| column::<i64>(row, name).map(|count| u64::try_from(count).unwrap_or_default());
    Ok(Applied { changed: count("changed")?, removed: count("removed")? })
}

/// A service as a record of the statement's input.
fn row_of(spec: &ServiceSpec, token_hash: Option<&str>) -> Value {
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
        "token_hash": token_hash,
    })
}

/// A service's stored configuration.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The configuration.
    pub spec: ServiceSpec,
    /// Where it comes from.
    pub origin: Origin,
    /// The file that it came from, if known.
    pub file: Option<FileName>,
}

/// The configuration of every service, disabled ones included, by environment and name; at most 20,000.
///
/// # Errors
/// Any store error.
pub async fn list_configured(client: &Client) -> Result<Vec<Configured>, StoreError> {
    let sql = "
        SELECT name::text AS name, environment, application::text AS application, group_name::text AS group_name, kind,
            target, timeout_ms, interval_seconds, enabled, settings, policy, origin,
            file_name::text AS file_name
        FROM public.services
        ORDER BY environment, name
        LIMIT 20000";
    let rows = client.query_typed(sql, &[]).await?;
    let configured = |row| {
        let file = column::<Option<String>>(row, "file_name")?.map(FileName::from_stored);
        Ok(Configured { spec: spec_of(row)?, origin: word(row, "origin", Origin::parse)?, file })
    };
    rows.iter().map(configured).collect()
}

/// A service with its newest check.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The service.
    pub service: Service,
    /// Its newest check.
    pub seen: Seen,
}

/// The newest check of a service; empty if it has not been checked.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// When it was last checked.
    pub last_checked_at: Option<DateTime<Utc>>,
    /// How long it took, in milliseconds.
    pub latency_ms: Option<i32>,
    /// Why it failed, for machines.
    pub reason: Option<String>,
    /// Why it failed, for people.
    pub error: Option<String>,
    /// Why its alerts are suppressed while it fails.
    pub held_by: Option<String>,
    /// When the first certificate of its chain expires.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// Its circuit breaker, if it has one.
    pub breaker: Option<SeenBreaker>,
}

/// The state of a circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenBreaker {
    /// Closed, open or half open.
    pub state: BreakerState,
    /// When the next attempt is allowed.
    pub retry_at: Option<DateTime<Utc>>,
}

/// All enabled services, by environment and name; at most 10,000. A service that has not been checked for three of its
/// intervals is unknown, except while its circuit breaker is open.
///
/// # Errors
/// Any store error.
pub async fn list(client: &Client, now: DateTime<Utc>) -> Result<Vec<Listed>, StoreError> {
    let sql = concat!(include_str!("sql/switches.sql"), include_str!("sql/list_services.sql"));
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ)]).await?;
    rows.iter().map(|row| Ok(Listed { service: service_of(row)?, seen: seen_of(row)? })).collect()
}

fn seen_of(row: &Row) -> Result<Seen, StoreError> {
    Ok(Seen {
        last_checked_at: column(row, "last_checked_at")?,
        latency_ms: column(row, "last_latency_ms")?,
        reason: column(row, "last_reason")?,
        error: column(row, "last_error")?,
        held_by: column(row, "held_by")?,
        certificate_expires_at: column(row, "certificate_expires_at")?,
        breaker: match column::<Option<&str>>(row, "breaker_state")? {
            Some(_) => Some(SeenBreaker {
                state: word(row, "breaker_state", BreakerState::parse)?,
                retry_at: column(row, "breaker_retry_at")?,
            }),
            None => None,
        },
    })
}

/// Reads the columns that every statement about services selects.
pub(super) fn service_of(row: &Row) -> Result<Service, StoreError> {
    let count = |name: &str| column::<i32>(row, name).map(|count| u32::try_from(count).unwrap_or_default());
    Ok(Service {
        id: column(row, "id")?,
        spec: spec_of(row)?,
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

/// Reads the configuration columns.
fn spec_of(row: &Row) -> Result<ServiceSpec, StoreError> {
    let timeout: i32 = column(row, "timeout_ms")?;
    let interval: Option<i32> = column(row, "interval_seconds")?;
    let Json(check) = column(row, "settings")?;
    let Json(policy) = column(row, "policy")?;
    Ok(ServiceSpec {
        name: column(row, "name")?,
        environment: column(row, "environment")?,
        application: column(row, "application")?,
        group: column(row, "group_name")?,
        kind: word(row, "kind", Kind::parse)?,
        target: column(row, "target")?,
        timeout: Duration::from_millis(u64::try_from(timeout).unwrap_or_default()),
        interval: interval.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default())),
        enabled: column(row, "enabled")?,
        check,
        policy,
    })
}

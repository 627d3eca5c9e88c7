//! The services that are probed: configured by operators, claimed by the probe.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::{Service, ServiceSpec, ServiceState, Slot};

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
    let each = |pick: fn(&ServiceSpec) -> &str| services.iter().map(pick).collect::<Vec<_>>();
    let milliseconds = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
    let rows = client
        .query_typed(
            include_str!("sql/upsert_services.sql"),
            &[
                (&each(|it| &it.name), Type::TEXT_ARRAY),
                (&each(|it| &it.environment), Type::TEXT_ARRAY),
                (&each(|it| &it.application), Type::TEXT_ARRAY),
                (&each(|it| &it.url), Type::TEXT_ARRAY),
                (&services.iter().map(|it| i32::from(it.expected_status)).collect::<Vec<_>>(), Type::INT4_ARRAY),
                (&services.iter().map(|it| milliseconds(it.timeout)).collect::<Vec<_>>(), Type::INT4_ARRAY),
                (&services.iter().map(|it| it.interval.map(seconds)).collect::<Vec<_>>(), Type::INT4_ARRAY),
                (&services.iter().map(|it| it.enabled).collect::<Vec<_>>(), Type::BOOL_ARRAY),
                (&origin.as_str(), Type::TEXT),
                (&now, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let changed: i64 = rows.first().map_or(Ok(0), |row| column(row, "changed"))?;
    Ok(u64::try_from(changed).unwrap_or_default())
}

/// A service that this claimer alone may check until its claim ends.
#[derive(Debug, Clone)]
pub struct ClaimedService {
    /// The service as it stood when it was claimed.
    pub service: Service,
    /// What the check stands for: its slot, or now when it is checked out of turn.
    pub slot: Slot,
}

/// One claim takes this many: checked at once, they need as many sockets, and their results fit one statement well
/// within its deadline. The rest is claimed next.
pub const CLAIM_LIMIT: i64 = 100;

/// What a claim brought.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Signs the results: those of a claim that has ended in the meantime are not taken.
    pub id: Uuid,
    /// The switch that stops the probe, if one does.
    pub stopped_by: Option<String>,
    /// How many services are to be probed at all.
    pub configured: usize,
    /// What is to be checked.
    pub services: Vec<ClaimedService>,
}

/// Which services a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Those whose slot of this tick has not been claimed.
    Due(DateTime<Utc>),
    /// All that have not been checked since this round began, out of turn.
    All(DateTime<Utc>),
}

/// Claims services for one round under this id. One round trip; nothing stays locked; harmless to repeat.
///
/// # Errors
/// Any store error.
pub async fn claim(client: &Client, id: Uuid, round: Round, now: DateTime<Utc>) -> Result<Claim, StoreError> {
    let (tick, out_of_turn, since) = match round {
        Round::Due(tick) => (tick, false, None),
        Round::All(begun) => (now, true, Some(begun)),
    };
    let rows = client
        .query_typed(
            concat!(include_str!("sql/switches.sql"), include_str!("sql/claim_services.sql")),
            &[
                (&id, Type::UUID),
                (&tick, Type::TIMESTAMPTZ),
                (&now, Type::TIMESTAMPTZ),
                (&out_of_turn, Type::BOOL),
                (&since, Type::TIMESTAMPTZ),
                (&CLAIM_LIMIT, Type::INT8),
            ],
        )
        .await?;
    let first = rows.first().ok_or_else(|| StoreError::Internal("a claim without its switches".into()))?;
    let mut claim = Claim {
        id,
        stopped_by: column(first, "stopped_by")?,
        configured: usize::try_from(column::<i64>(first, "configured")?).unwrap_or_default(),
        services: Vec::with_capacity(rows.len()),
    };
    for row in &rows {
        if column::<Option<Uuid>>(row, "id")?.is_some() {
            let slot = Slot { start: column(row, "stands_for")?, period_seconds: column(row, "period")? };
            claim.services.push(ClaimedService { service: service_of(row)?, slot });
        }
    }
    Ok(claim)
}

/// All enabled services, by environment and name; at most 10,000. One that has not been checked for three of its
/// intervals is unknown, whatever it was.
///
/// # Errors
/// Any store error.
pub async fn list(client: &Client, now: DateTime<Utc>) -> Result<Vec<Service>, StoreError> {
    let sql = concat!(
        include_str!("sql/switches.sql"),
        "SELECT id, name::text AS name, environment, application::text AS application, url, expected_status,
            timeout_ms, state_changed_at, consecutive_failures, consecutive_successes, last_checked_at,
            CASE
                WHEN last_checked_at < $1 - make_interval(
                    secs => 3 * coalesce(interval_seconds, default_interval)::double precision
                ) THEN 'unknown'
                ELSE state
            END AS state
        FROM public.services
        CROSS JOIN switches
        WHERE enabled
        ORDER BY environment, name
        LIMIT 10000"
    );
    client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ)]).await?.iter().map(service_of).collect()
}

fn service_of(row: &Row) -> Result<Service, StoreError> {
    Ok(Service {
        id: column(row, "id")?,
        name: column(row, "name")?,
        environment: column(row, "environment")?,
        application: column(row, "application")?,
        url: column(row, "url")?,
        expected_status: u16::try_from(column::<i32>(row, "expected_status")?).unwrap_or_default(),
        timeout: Duration::from_millis(u64::try_from(column::<i32>(row, "timeout_ms")?).unwrap_or_default()),
        state: word(row, "state", ServiceState::parse)?,
        state_changed_at: column(row, "state_changed_at")?,
        consecutive_failures: u32::try_from(column::<i32>(row, "consecutive_failures")?).unwrap_or_default(),
        consecutive_successes: u32::try_from(column::<i32>(row, "consecutive_successes")?).unwrap_or_default(),
        last_checked_at: column(row, "last_checked_at")?,
    })
}

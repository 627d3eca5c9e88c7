//! The probe's claims (leases): each service is checked once per slot and region.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::row::{column, word};
use super::services::service_of;
use super::{Client, StoreError};
use crate::model::{BreakerState, Service, Slot, Verdict};

/// The batch size of a claim, bounded by the sockets that it needs and by the deadline of the statement that stores its
/// results. Further services are claimed in the next batch.
pub const CLAIM_LIMIT: i64 = 250;

impl ClaimedService {
    /// A claimed service without any history.
    #[must_use]
    pub fn new(service: Service, slot: Slot) -> Self {
        Self {
            service,
            slot,
            votes: Votes::new(),
            other_regions: 0,
            decided_slot: None,
            measurements: None,
            beat: None,
            breaker: None,
            certificate_expires_at: None,
            parents: Parents::new(),
        }
    }
}

/// A service that is leased to one worker in this region until its claim expires.
#[derive(Debug, Clone)]
pub struct ClaimedService {
    /// The service at the time of the claim.
    pub service: Service,
    /// The slot of the check; now for an unscheduled check.
    pub slot: Slot,
    /// The newest vote of each region, if several check.
    pub votes: Votes,
    /// The number of other regions that have checked it within three of its intervals.
    pub other_regions: u32,
    /// The start of the last slot that was decided, in seconds since 1970.
    pub decided_slot: Option<i64>,
    /// The previous measurements (`postgres`).
    pub measurements: Option<Value>,
    /// Its newest heartbeat; `at` is the start of its deadline, also after an outage of ours.
    pub beat: Option<Beat>,
    /// Its circuit breaker, if it has one.
    pub breaker: Option<Breaker>,
    /// When the certificate of the newest check expires.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// The services that it depends on, if they are probed.
    pub parents: Parents,
}

/// The parents of a service, by name.
pub type Parents = BTreeMap<String, Parent>;

/// A service that another one depends on, at the time of the claim.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Parent {
    /// Whether it is down, or its last check failed.
    pub failing: bool,
    /// When it was last checked.
    pub checked_at: Option<DateTime<Utc>>,
    /// How often it is checked, in seconds.
    pub period: i64,
}

/// The newest vote of each region.
pub type Votes = BTreeMap<String, Vote>;

/// A region's vote on the state of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The start of the slot, in seconds since 1970.
    pub slot: i64,
    /// When it was checked.
    pub at: DateTime<Utc>,
    /// The verdict.
    pub verdict: Verdict,
    /// Its previous vote, for regions that have yet to vote on that slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<(i64, Verdict)>,
}

impl Vote {
    /// The slots that it voted on, newest first.
    pub fn slots(&self) -> impl Iterator<Item = (i64, Verdict)> {
        std::iter::once((self.slot, self.verdict)).chain(self.before)
    }
}

/// A job's newest heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// When it was received.
    pub at: DateTime<Utc>,
    /// Whether the job reported a failure.
    pub failed: bool,
    /// The job's message.
    pub message: Option<String>,
}

/// A circuit breaker as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// Closed, open or half open.
    pub state: BreakerState,
    /// Consecutive failures.
    pub failures: i32,
    /// The current back-off between two attempts.
    pub backoff_seconds: i32,
    /// When it opened.
    pub opened_at: Option<DateTime<Utc>>,
    /// When the next attempt is allowed.
    pub retry_at: Option<DateTime<Utc>>,
}

/// The result of a claim.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Identifies the lease: results of an expired claim are refused.
    pub id: Uuid,
    /// The switch that stops the probe, if one does.
    pub stopped_by: Option<String>,
    /// The number of enabled services.
    pub configured: usize,
    /// Whether some services are due at the half minute too.
    pub half_minutes: bool,
    /// Whether more services were due; other workers may have claimed them since.
    pub more: bool,
    /// Whether an incident about this region's own network is open.
    pub network_incident: bool,
    /// Whether it was confirmed by a suspect run within the last 15 minutes.
    pub network_outage: bool,
    /// The services to check.
    pub services: Vec<ClaimedService>,
}

/// The services of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Services whose slot at this tick has not been claimed.
    Due(DateTime<Utc>),
    /// All services, unscheduled, that have not been checked since this instant.
    All(DateTime<Utc>),
}

/// Claims services for one round in this region, under this id. One round trip; holds no locks afterwards; idempotent.
///
/// # Errors
/// Any store error.
pub async fn claim(
    client: &Client,
    id: Uuid,
    round: Round,
    region: &str,
    now: DateTime<Utc>,
) -> Result<Claim, StoreError> {
    read(client, id, round, region, now, false).await
}

/// The services that this claim still leases, as they are now: to decide again after a conflict.
///
/// # Errors
/// Any store error.
pub async fn find_claimed(
    client: &Client,
    id: Uuid,
    round: Round,
    region: &str,
    now: DateTime<Utc>,
) -> Result<Vec<ClaimedService>, StoreError> {
    Ok(read(client, id, round, region, now, true).await?.services)
}

async fn read(
    client: &Client,
    id: Uuid,
    round: Round,
    region: &str,
    now: DateTime<Utc>,
    only_claimed: bool,
) -> Result<Claim, StoreError> {
    let (tick, unscheduled, since) = match round {
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
                (&unscheduled, Type::BOOL),
                (&since, Type::TIMESTAMPTZ),
                (&CLAIM_LIMIT, Type::INT8),
                (&region, Type::TEXT),
                (&only_claimed, Type::BOOL),
            ],
        )
        .await?;
    let first = rows.first().ok_or_else(|| StoreError::Internal("the claim returned no row".into()))?;
    let mut claim = Claim {
        id,
        stopped_by: column(first, "stopped_by")?,
        configured: usize::try_from(column::<i64>(first, "configured")?).unwrap_or_default(),
        half_minutes: column(first, "half_minutes")?,
        more: column(first, "more")?,
        network_incident: column(first, "network_incident")?,
        network_outage: column(first, "network_outage")?,
        services: Vec::with_capacity(rows.len()),
    };
    for row in &rows {
        if column::<Option<Uuid>>(row, "id")?.is_some() {
            claim.services.push(claimed_of(row)?);
        }
    }
    Ok(claim)
}

fn claimed_of(row: &Row) -> Result<ClaimedService, StoreError> {
    let beat_at: Option<DateTime<Utc>> = column(row, "beat_at")?;
    Ok(ClaimedService {
        service: service_of(row)?,
        slot: Slot { start: column(row, "stands_for")?, period_seconds: column(row, "period")? },
        // Votes of a newer version may be unreadable: they are ignored.
        votes: serde_json::from_value(column(row, "votes")?).unwrap_or_default(),
        other_regions: u32::try_from(column::<i64>(row, "other_regions")?).unwrap_or_default(),
        decided_slot: column(row, "decided_slot")?,
        measurements: column::<Option<Json<Value>>>(row, "measurements")?.map(|Json(value)| value),
        beat: match beat_at {
            Some(at) => Some(Beat { at, failed: column(row, "beat_failed")?, message: column(row, "beat_message")? }),
            None => None,
        },
        breaker: match column::<Option<&str>>(row, "breaker_state")? {
            Some(_) => Some(Breaker {
                state: word(row, "breaker_state", BreakerState::parse)?,
                failures: column(row, "breaker_failures")?,
                backoff_seconds: column(row, "breaker_backoff_seconds")?,
                opened_at: column(row, "breaker_opened_at")?,
                retry_at: column(row, "breaker_retry_at")?,
            }),
            None => None,
        },
        certificate_expires_at: column(row, "certificate_expires_at")?,
        parents: column::<Option<Json<Parents>>>(row, "parents")?.map(|Json(parents)| parents).unwrap_or_default(),
    })
}

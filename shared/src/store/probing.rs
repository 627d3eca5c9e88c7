//! What the probe claims, so that each service is checked once for each of its slots and regions.

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

/// One claim takes this many: checked at once, they need as many sockets, and their results fit one statement well
/// within its deadline. The rest is claimed next.
pub const CLAIM_LIMIT: i64 = 250;

impl ClaimedService {
    /// A service that nobody has asked anything yet.
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

/// A service that this claimer alone may check, in this region, until its claim ends.
#[derive(Debug, Clone)]
pub struct ClaimedService {
    /// The service as it stood when it was claimed.
    pub service: Service,
    /// What the check stands for: its slot, or now when it is checked out of turn.
    pub slot: Slot,
    /// What each region said last, where several check.
    pub votes: Votes,
    /// How many other regions have checked it within three of its intervals.
    pub other_regions: u32,
    /// The start of the last slot that was decided, in seconds since 1970.
    pub decided_slot: Option<i64>,
    /// What was measured last time (`postgres`).
    pub measurements: Option<Value>,
    /// Its last sign of life (`heartbeat`); its time is since when another one is awaited, after a pause of ours too.
    pub beat: Option<Beat>,
    /// Its circuit breaker, if it has one.
    pub breaker: Option<Breaker>,
    /// When the certificate that was seen last ends.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// The services that it needs, as far as they are probed.
    pub parents: Parents,
}

/// What a service needs, by name.
pub type Parents = BTreeMap<String, Parent>;

/// A service that another one needs, as it stood when that was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Parent {
    /// Whether it is down, or its last check failed.
    pub failing: bool,
    /// When it was last checked.
    pub checked_at: Option<DateTime<Utc>>,
    /// How often it is checked, in seconds.
    pub period: i64,
}

/// What each region said last.
pub type Votes = BTreeMap<String, Vote>;

/// What a region said of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The start of the slot, in seconds since 1970.
    pub slot: i64,
    /// When it was checked.
    pub at: DateTime<Utc>,
    /// What it found.
    pub verdict: Verdict,
    /// The slot before that it voted on, and how: others may still be about to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<(i64, Verdict)>,
}

impl Vote {
    /// The slots that it voted on, the newest first.
    pub fn slots(&self) -> impl Iterator<Item = (i64, Verdict)> {
        std::iter::once((self.slot, self.verdict)).chain(self.before)
    }
}

/// A job's last sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// When it came.
    pub at: DateTime<Utc>,
    /// Whether it told of a failure.
    pub failed: bool,
    /// What it said.
    pub message: Option<String>,
}

/// A circuit breaker as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// Closed, open or half open.
    pub state: BreakerState,
    /// Failures in a row.
    pub failures: i32,
    /// The present pause between two attempts.
    pub backoff_seconds: i32,
    /// Since when it is open.
    pub opened_at: Option<DateTime<Utc>>,
    /// When the next attempt is let through.
    pub retry_at: Option<DateTime<Utc>>,
}

/// What a claim brought.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Signs the results: those of a claim that has ended in the meantime are not taken.
    pub id: Uuid,
    /// The switch that stops the probe, if one does.
    pub stopped_by: Option<String>,
    /// How many services are to be probed at all.
    pub configured: usize,
    /// Whether some are due between two minutes too.
    pub half_minutes: bool,
    /// Whether more was due when it was claimed; others may have claimed that meanwhile.
    pub more: bool,
    /// Whether an incident about this region's own network is open.
    pub network_incident: bool,
    /// Whether a run within the last quarter of an hour was suspect, and nothing has proved the contrary.
    pub network_outage: bool,
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

/// Claims services for one round in this region, under this id. One round trip; nothing stays locked; harmless to repeat.
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

/// What this claim still has, as it stands now: for results that met a change of their services.
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
    nothing_new: bool,
) -> Result<Claim, StoreError> {
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
                (&region, Type::TEXT),
                (&nothing_new, Type::BOOL),
            ],
        )
        .await?;
    let first = rows.first().ok_or_else(|| StoreError::Internal("a claim without its switches".into()))?;
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
        // What cannot be read has been written by a newer version: that is as if nobody had said anything.
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

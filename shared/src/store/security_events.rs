//! `security_events`: refused requests, one row per kind, network and minute, limited per hour; and the incident of a
//! burst.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::network::APPLICATION;
use super::{Client, StoreError};
use crate::model::{DEFAULT_ENVIRONMENT, IncidentId, Network, Severity};
use crate::security::SecurityKind;

/// The number of refusals of one kind within ten minutes that is a burst.
pub const BURST: i64 = 50;

/// The most rows with a network per kind and hour. Further refusals are counted without their network.
pub const ROWS_PER_HOUR: i64 = 60;

/// Refusals of one kind, from one network, within one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// The id of their row: the same for the same kind, network and minute.
    pub id: Uuid,
    /// The kind.
    pub event_type: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// An address of the network. Its first 24 bits (64 of IPv6) are stored.
    pub source_ip: Option<IpAddr>,
    /// One line for a person.
    pub description: String,
    /// The number of refusals since the last write.
    pub count: i64,
    /// The first of them.
    pub first_at: DateTime<Utc>,
    /// The last of them.
    pub last_at: DateTime<Utc>,
}

/// Adds these refusals to their rows, all or none, and opens the incident of a kind with a burst. Idempotent: a retried
/// batch adds nothing. Each row at most once.
///
/// # Errors
/// Any store error.
pub async fn add(client: &Client, batch: Uuid, refusals: &[Refusals]) -> Result<(), StoreError> {
    fn each<T>(refusals: &[Refusals], pick: impl Fn(&Refusals) -> T) -> Vec<T> {
        refusals.iter().map(pick).collect()
    }
    client
        .execute_typed(
            include_str!("sql/add_security_events.sql"),
            &[
                (&each(refusals, |it| format!("SEC-{}", it.id)), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.event_type), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.severity.as_str()), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.source_ip.map(|address| Network::of(address).to_string())), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.description.clone()), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.count), Type::INT8_ARRAY),
                (&each(refusals, |it| it.first_at), Type::TIMESTAMPTZ_ARRAY),
                (&each(refusals, |it| it.last_at), Type::TIMESTAMPTZ_ARRAY),
                (&batch, Type::UUID),
                (&Json(incidents(refusals)), Type::JSONB),
                (&BURST, Type::INT8),
                (&ROWS_PER_HOUR, Type::INT8),
            ],
        )
        .await?;
    Ok(())
}

/// For each kind the incident that a burst opens. Its severity is the kind's, but at most MEDIUM: refused requests do
/// no harm, and clients must not be able to page people with them. Its application is Watchkeeper, which serves every
/// environment.
fn incidents(refusals: &[Refusals]) -> Value {
    let mut kinds: BTreeMap<&str, (Severity, DateTime<Utc>)> = BTreeMap::new();
    let is_noted_only = |kind: &SecurityKind| !kind.opens_incident();
    let noted_only: Vec<&str> = SecurityKind::ALL.into_iter().filter(is_noted_only).map(SecurityKind::as_str).collect();
    for it in refusals.iter().filter(|it| !noted_only.contains(&it.event_type)) {
        let (_, last_at) = kinds.entry(it.event_type).or_insert((it.severity, it.last_at));
        *last_at = it.last_at.max(*last_at);
    }
    kinds.into_iter().map(|(kind, (severity, at))| incident(kind, severity, at)).collect()
}

fn incident(kind: &str, severity: Severity, at: DateTime<Utc>) -> Value {
    let (incident_id, severity) = (IncidentId::for_report(at), severity.min(Severity::Medium));
    let title = format!("Many requests are refused: {}", kind.replace('_', " "));
    json!({
        "event_type": kind,
        "incident_id": incident_id,
        "severity": severity.as_str(),
        "application": APPLICATION,
        "environment": DEFAULT_ENVIRONMENT,
        "fingerprint": format!("security:{kind}"),
        "title": title,
        "message": format!(
            "At least {BURST} requests were refused within ten minutes ({kind}). None of them was accepted. \
             security_events lists their networks."
        ),
    })
}

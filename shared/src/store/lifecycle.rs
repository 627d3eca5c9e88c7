//! Steps in the lifecycle of incidents: resolve, reopen, acknowledge, or a note on the timeline, which is the
//! incident's rows in `agent_actions`. A step is one statement: the delivery key, the incidents, their alerts, their
//! audit rows, their events.
//!
//! A step is idempotent by its delivery key. It may carry its instant by the source's own clock: a step that is older
//! than the newest known one is stale and changes nothing. Of two with the same instant the one that arrives last wins,
//! even if it is stored first because the other one was deferred.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};
use crate::fingerprint::Fingerprint;
use crate::model::text::{first_chars, storable, storable_object, storable_value};
use crate::model::{DeliveryKey, IncidentId, IncidentStatus, uuid_at};

/// The change that a step makes to its incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Resolves all open ones.
    Resolve,
    /// Reopens the newest.
    Reopen,
    /// Acknowledges all open ones.
    Acknowledge,
    /// None: a note on the timeline.
    Note,
}

/// The incidents of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All of one fingerprint, such as Sentry's group `sentry:4711`.
    Group(Fingerprint),
    /// One incident.
    Incident(IncidentId),
    /// None: only the delivery is stored.
    Nothing,
}

/// The agent that records a step, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// `agent_actions.agent_id`.
    pub id: Cow<'static, str>,
    /// `agent_actions.agent_type`.
    pub kind: Cow<'static, str>,
}

impl Agent {
    /// An agent with these names.
    #[must_use]
    pub const fn new(id: &'static str, kind: &'static str) -> Self {
        Self { id: Cow::Borrowed(id), kind: Cow::Borrowed(kind) }
    }
}

/// A step, as received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The idempotency key.
    pub delivery_key: DeliveryKey,
    /// The system or person behind it: becomes the incident's assignee.
    pub source: String,
    /// The agent that records it.
    pub agent: Agent,
    /// Its incidents.
    pub target: Target,
    /// Its instant, by the source's clock; none = always the newest.
    pub as_of: Option<DateTime<Utc>>,
    /// Its type on the timeline: `sentry_issue_resolved`.
    pub action_type: String,
    /// One line for a person.
    pub description: String,
    /// Further details, for the timeline.
    pub details: Map<String, Value>,
    /// What is stored of the delivery itself.
    pub note: Option<Value>,
    /// Whether the delivery is stored if no incident is known. Otherwise nothing is written.
    pub keep_unknown: bool,
    /// When we received it.
    pub received_at: DateTime<Utc>,
}

/// The effect of a step on one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The incident.
    pub incident_id: IncidentId,
    /// Whether its status changed.
    pub changed: bool,
    /// Whether the step was older than the newest known one.
    pub stale: bool,
    /// The event of the change, to be published.
    pub event_id: Option<Uuid>,
}

/// A known delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its effect, if it was a step and an incident was known. Its event must not be published again.
    pub touched: Option<Touched>,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is stored, with these effects on its incidents, newest first; empty if no incident is known.
    New(Vec<Touched>),
    /// A duplicate: it was delivered before.
    Before(Earlier),
    /// No incident is known, and nothing was stored.
    Unknown,
}

/// Whether a step was deferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Stored on arrival: nothing known is newer.
    Live,
    /// Deferred: newer steps may be stored already.
    Late,
}

/// Stores a step. Idempotent.
///
/// # Errors
/// Any store error; then nothing is written.
pub async fn take_step(client: &Client, change: Change, step: &Step, arrival: Arrival) -> Result<Taken, StoreError> {
    let to = match change {
        Change::Resolve => Some(IncidentStatus::Resolved),
        Change::Reopen => Some(IncidentStatus::Detected),
        Change::Acknowledge => Some(IncidentStatus::Acknowledged),
        Change::Note => None,
    };
    if let Some(touched) = change_incidents(client, to, step, arrival).await? {
        return Ok(Taken::New(touched));
    }
    let earlier = find_earlier(client, &step.delivery_key).await?;
    Ok(earlier.map_or(Taken::Unknown, Taken::Before))
}

/// The longest description, in characters.
const DESCRIPTION_CHARS: usize = 1_000;

/// The earlier result of a delivery, if it is known.
///
/// # Errors
/// Any store error.
pub async fn find_earlier(client: &Client, key: &DeliveryKey) -> Result<Option<Earlier>, StoreError> {
    // Only the audit row of a step has `stale`.
    let sql = "
        SELECT incident.incident_id::text AS incident_id,
            coalesce(action.action_details -> 'changed' = 'true', false) AS changed,
            coalesce(action.action_details -> 'stale' = 'true', false) AS stale,
            NULL::uuid AS event_id
        FROM public.inbound_deliveries AS delivery
        LEFT JOIN public.agent_actions AS action
            ON action.id = delivery.action_id AND action.action_details ? 'stale'
        LEFT JOIN public.incidents AS incident ON incident.id = action.incident_id
        WHERE delivery.delivery_key = $1";
    let rows = client.query_typed(sql, &[(&key.as_str(), Type::TEXT)]).await?;
    rows.first().map(|row| Ok(Earlier { touched: touched_of(row)? })).transpose()
}

/// Stores a step, and changes its incidents to this status: all open ones are resolved or acknowledged, the newest is
/// reopened (`Detected`) if none is open; without a status the step is added to the timeline of the open incident, else
/// of the newest. Returns the affected incidents, newest first. None for a duplicate delivery, or if no incident is
/// known and `keep_unknown` is false.
///
/// # Errors
/// Any store error; then nothing is written.
pub async fn change_incidents(
    client: &Client,
    to: Option<IncidentStatus>,
    step: &Step,
    arrival: Arrival,
) -> Result<Option<Vec<Touched>>, StoreError> {
    let (fingerprint, incident_id) = match &step.target {
        Target::Group(fingerprint) => (Some(fingerprint.as_str()), None),
        Target::Incident(id) => (None, Some(id.as_str())),
        Target::Nothing => (None, None),
    };
    let description = storable(&step.description);
    let rows = client
        .query_typed(
            include_str!("sql/change_incidents.sql"),
            &[
                (&step.delivery_key.as_str(), Type::TEXT),
                (&step.source, Type::TEXT),
                (&uuid_at(step.received_at), Type::UUID),
                (&step.received_at, Type::TIMESTAMPTZ),
                (&step.note.clone().map(|note| storable_value(note).to_string()), Type::TEXT),
                (&fingerprint, Type::TEXT),
                (&incident_id, Type::TEXT),
                (&to.map(IncidentStatus::as_str), Type::TEXT),
                (&step.as_of, Type::TIMESTAMPTZ),
                (&step.keep_unknown, Type::BOOL),
                (&step.agent.id.as_ref(), Type::TEXT),
                (&step.agent.kind.as_ref(), Type::TEXT),
                (&step.action_type, Type::TEXT),
                (&first_chars(&description, DESCRIPTION_CHARS), Type::TEXT),
                (&Value::Object(storable_object(step.details.clone())).to_string(), Type::TEXT),
                (&(arrival == Arrival::Late), Type::BOOL),
            ],
        )
        .await?;
    let is_new = rows.first().map_or(Ok(false), |row| column(row, "is_new"))?;
    if !is_new {
        return Ok(None);
    }
    let touched: Result<Vec<_>, _> = rows.iter().map(touched_of).collect();
    Ok(Some(touched?.into_iter().flatten().collect()))
}

/// None in the single row of a step without incidents.
fn touched_of(row: &Row) -> Result<Option<Touched>, StoreError> {
    let Some(incident_id) = column::<Option<String>>(row, "incident_id")? else { return Ok(None) };
    Ok(Some(Touched {
        incident_id: IncidentId::from_stored(incident_id),
        changed: column(row, "changed")?,
        stale: column(row, "stale")?,
        event_id: column(row, "event_id")?,
    }))
}

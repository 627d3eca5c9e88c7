//! Steps in an incident's life that are no report of an error: resolved, reopened, acknowledged, or something to note
//! on its timeline, which is its rows in `agent_actions`. One statement each: the delivery key, the incidents, their
//! alerts, their audit rows, their events.
//!
//! A step has a delivery key, so that it counts once however often it comes, and may carry the instant that it tells of
//! by the teller's own clock: what is older than the newest that was heard changes nothing. Of two with the same
//! instant the one that arrives last holds, also where it is stored first because the other one was deferred.
//!
//! Users: `sentry-webhook`, `defer::settle`; [`super::reactions`] for what people do.

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

/// What a step does to its incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// They are over.
    Resolve,
    /// The newest is open again.
    Reopen,
    /// Somebody has seen them.
    Acknowledge,
    /// Nothing: it stands on the timeline.
    Note,
}

/// Which incidents a step is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Those of one fingerprint, such as Sentry's group `sentry:4711`.
    Group(Fingerprint),
    /// This one.
    Incident(IncidentId),
    /// None: the delivery is only kept.
    Nothing,
}

/// Who takes a step, as the audit names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// `agent_actions.agent_id`.
    pub id: Cow<'static, str>,
    /// `agent_actions.agent_type`.
    pub kind: Cow<'static, str>,
}

impl Agent {
    /// An agent of these names.
    #[must_use]
    pub const fn new(id: &'static str, kind: &'static str) -> Self {
        Self { id: Cow::Borrowed(id), kind: Cow::Borrowed(kind) }
    }
}

/// One step, as somebody told it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Recognises a redelivery.
    pub delivery_key: DeliveryKey,
    /// Who told it: a system or a person. Handles the incident from then on.
    pub source: String,
    /// Who writes it down.
    pub agent: Agent,
    /// Which incidents it is about.
    pub target: Target,
    /// The instant that it tells of, by the teller's clock; none = always the newest.
    pub as_of: Option<DateTime<Utc>>,
    /// What it is called on the timeline: `sentry_issue_resolved`.
    pub action_type: String,
    /// One line for a person.
    pub description: String,
    /// More about it, for the timeline.
    pub details: Map<String, Value>,
    /// What is kept of the delivery itself.
    pub note: Option<Value>,
    /// Whether the delivery is kept where no incident is known. Otherwise nothing is written then.
    pub keep_unknown: bool,
    /// When it reached us.
    pub received_at: DateTime<Utc>,
}

/// What a step did to one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The incident.
    pub incident_id: IncidentId,
    /// Whether its status is another one now.
    pub changed: bool,
    /// Whether the step was older than what is known.
    pub stale: bool,
    /// The event that tells of the change; to be published.
    pub event_id: Option<Uuid>,
}

/// A delivery that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// What it did as a step, if it was one and an incident was known. Its event is not to be published again.
    pub touched: Option<Touched>,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is kept, and has done this to the incidents that it is about, the newest first; none are known if it is empty.
    New(Vec<Touched>),
    /// It was delivered before.
    Before(Earlier),
    /// No incident is known, and nothing was kept.
    Unknown,
}

/// Whether a step is stored as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Now: nothing that is known came after it.
    Live,
    /// It was deferred: what came after it may be known.
    Late,
}

/// Takes a step. Harmless to repeat.
///
/// # Errors
/// As [`resolve_group`].
pub async fn take_step(client: &Client, change: Change, step: &Step, arrival: Arrival) -> Result<Taken, StoreError> {
    let to = match change {
        Change::Resolve => Some(IncidentStatus::Resolved),
        Change::Reopen => Some(IncidentStatus::Detected),
        Change::Acknowledge => Some(IncidentStatus::Acknowledged),
        Change::Note => None,
    };
    if let Some(touched) = take(client, to, step, arrival).await? {
        return Ok(Taken::New(touched));
    }
    let earlier = find_earlier(client, &step.delivery_key).await?;
    Ok(earlier.map_or(Taken::Unknown, Taken::Before))
}

/// The longest a description gets, in characters.
const DESCRIPTION_CHARS: usize = 1_000;

/// Resolves all the open incidents. The incidents that were touched, the newest first, of which those that were
/// resolved already are not changed; none when the delivery is known.
///
/// # Errors
/// Any store error; nothing is written then.
pub async fn resolve_group(client: &Client, step: &Step) -> Result<Option<Vec<Touched>>, StoreError> {
    take(client, Some(IncidentStatus::Resolved), step, Arrival::Live).await
}

/// Reopens the newest incident if none is open. None when the delivery is known, or when no incident is and the step
/// does not keep that.
///
/// # Errors
/// As [`resolve_group`].
pub async fn reopen_group(client: &Client, step: &Step) -> Result<Option<Vec<Touched>>, StoreError> {
    take(client, Some(IncidentStatus::Detected), step, Arrival::Live).await
}

/// Acknowledges all the open incidents that nobody has seen yet.
///
/// # Errors
/// As [`resolve_group`].
pub async fn acknowledge_group(client: &Client, step: &Step) -> Result<Option<Vec<Touched>>, StoreError> {
    take(client, Some(IncidentStatus::Acknowledged), step, Arrival::Live).await
}

/// Notes the step on the timeline of the open incident, else of the newest.
///
/// # Errors
/// As [`resolve_group`].
pub async fn note_group(client: &Client, step: &Step) -> Result<Option<Vec<Touched>>, StoreError> {
    take(client, None, step, Arrival::Live).await
}

/// What became of the delivery, if it is known.
///
/// # Errors
/// Any store error.
pub async fn find_earlier(client: &Client, key: &DeliveryKey) -> Result<Option<Earlier>, StoreError> {
    // Only the audit row of a step tells whether the step was stale.
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

async fn take(
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

/// None in the one row of a step that touched nothing.
fn touched_of(row: &Row) -> Result<Option<Touched>, StoreError> {
    let Some(incident_id) = column::<Option<String>>(row, "incident_id")? else { return Ok(None) };
    Ok(Some(Touched {
        incident_id: IncidentId::from_stored(incident_id),
        changed: column(row, "changed")?,
        stale: column(row, "stale")?,
        event_id: column(row, "event_id")?,
    }))
}

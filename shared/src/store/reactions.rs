//! People's actions on problems, from any client: acknowledge, resolve, or a note of an action elsewhere. A problem is
//! an incident with its alerts, or an alert without an incident.
//!
//! A reaction is idempotent by its delivery key. Repeating an action changes and writes nothing.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::lifecycle::{self, Agent, Arrival, Step, Target};
use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::text::{first_chars, one_line, storable};
use crate::model::{AlertStatus, DeliveryKey, IncidentId, IncidentStatus, Subject, uuid_at};
use crate::redact::Redactor;

/// A person's action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Acknowledges the problem: it is not escalated further.
    Acknowledge,
    /// Resolves the problem.
    Resolve,
    /// Adds this note to the timeline, and changes nothing else.
    Note(&'static str),
}

/// A person's action on a problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Reaction {
    /// The idempotency key.
    pub delivery_key: DeliveryKey,
    /// The action.
    pub action: Action,
    /// The person, normalised by [`person`].
    pub by: String,
    /// The person's comment.
    pub comment: Option<String>,
    /// The agent that records it.
    pub agent: Agent,
    /// When we received it.
    pub at: DateTime<Utc>,
    /// When it was done, by the client's clock: an action from before the incident's last reopening is stale. None =
    /// now.
    pub done_at: Option<DateTime<Utc>>,
}

/// The result of a reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reacted {
    /// The problem has the requested status; with the event to publish, if the status changed.
    Done(Option<Uuid>),
    /// The problem is resolved and can't be acknowledged, or the action is stale.
    Over,
    /// There is no such incident or alert.
    Unknown,
}

/// The length of the name columns, in characters.
const PERSON_CHARS: usize = 50;
const COMMENT_CHARS: usize = 500;

/// Normalises a person's name: one line without control characters, truncated to its column. None if empty.
#[must_use]
pub fn person(name: &str) -> Option<String> {
    let name = one_line(name);
    let name = first_chars(name.trim(), PERSON_CHARS).trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

impl Action {
    fn status(self) -> Option<IncidentStatus> {
        match self {
            Self::Acknowledge => Some(IncidentStatus::Acknowledged),
            Self::Resolve => Some(IncidentStatus::Resolved),
            Self::Note(_) => None,
        }
    }

    /// The suffix of its audit type.
    fn audit_suffix(self) -> &'static str {
        self.status().map_or("noted", IncidentStatus::as_str)
    }

    fn description(self) -> &'static str {
        match self {
            Self::Acknowledge => "Acknowledged",
            Self::Resolve => "Resolved",
            Self::Note(note) => note,
        }
    }

    /// The result, if the current status alone decides it and nothing is to be written.
    fn settled(self, status: IncidentStatus) -> Option<Reacted> {
        match (self, status) {
            (Self::Acknowledge, IncidentStatus::Resolved) => Some(Reacted::Over),
            (Self::Acknowledge, IncidentStatus::Acknowledged) | (Self::Resolve, IncidentStatus::Resolved) => {
                Some(Reacted::Done(None))
            }
            _ => None,
        }
    }
}

impl Reaction {
    /// The comment, redacted and truncated.
    fn comment(&self) -> Option<String> {
        let comment = one_line(self.comment.as_deref()?);
        let comment = Redactor::default().text(comment.trim()).into_owned();
        (!comment.is_empty()).then(|| first_chars(&comment, COMMENT_CHARS).to_owned())
    }

    fn description(&self, comment: Option<&str>) -> String {
        let comment = comment.map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{} by {}{comment}", self.action.description(), self.by)
    }

    fn details(&self, comment: Option<String>) -> Map<String, Value> {
        let by = ("by".to_owned(), Value::from(self.by.as_str()));
        std::iter::once(by).chain(comment.map(|comment| ("comment".to_owned(), comment.into()))).collect()
    }
}

/// Applies the action to the incident with its alerts, or to the alert; an alert of an open incident stands for the
/// incident. Idempotent.
///
/// # Errors
/// Any store error.
pub async fn react(client: &Client, subject: &Subject, reaction: &Reaction) -> Result<Reacted, StoreError> {
    match subject {
        Subject::Incident(id) => react_to_incident(client, id, reaction).await,
        Subject::Alert(id) => match find_alert(client, *id).await? {
            None => Ok(Reacted::Unknown),
            Some((status, incident)) => match (reaction.action.settled(status), incident) {
                // A resolved alert stays resolved, even if its incident was reopened since.
                (Some(reacted), _) if status == IncidentStatus::Resolved => Ok(reacted),
                (_, Some(incident)) => react_to_incident(client, &incident, reaction).await,
                (Some(reacted), None) => Ok(reacted),
                (None, None) => change_alert(client, *id, reaction).await,
            },
        },
    }
}

async fn react_to_incident(client: &Client, id: &IncidentId, reaction: &Reaction) -> Result<Reacted, StoreError> {
    let Some((status, reopened_at)) = find_status(client, id).await? else { return Ok(Reacted::Unknown) };
    if let Some(reacted) = reaction.action.settled(status) {
        return Ok(reacted);
    }
    if reaction.done_at.zip(reopened_at).is_some_and(|(done_at, reopened_at)| done_at < reopened_at) {
        return Ok(Reacted::Over);
    }
    let comment = reaction.comment();
    let step = Step {
        delivery_key: reaction.delivery_key.clone(),
        source: reaction.by.clone(),
        agent: reaction.agent.clone(),
        target: Target::Incident(id.clone()),
        as_of: None,
        action_type: format!("incident_{}", reaction.action.audit_suffix()),
        description: reaction.description(comment.as_deref()),
        details: reaction.details(comment),
        note: None,
        keep_unknown: false,
        received_at: reaction.at,
    };
    let touched = lifecycle::change_incidents(client, reaction.action.status(), &step, Arrival::Live).await?;
    match touched.and_then(|touched| touched.into_iter().next()) {
        // A concurrent change came first, and may have resolved it.
        Some(touched) if !touched.changed && reaction.action.status().is_some() => {
            let status = find_status(client, id).await?;
            Ok(status.and_then(|(status, _)| reaction.action.settled(status)).unwrap_or(Reacted::Done(None)))
        }
        Some(touched) => Ok(Reacted::Done(touched.event_id)),
        None => Ok(Reacted::Done(None)),
    }
}

/// The incident's status, and when it was last reopened.
async fn find_status(
    client: &Client,
    id: &IncidentId,
) -> Result<Option<(IncidentStatus, Option<DateTime<Utc>>)>, StoreError> {
    let sql = "SELECT status::text AS status, reopened_at FROM public.incidents WHERE incident_id = $1";
    let rows = client.query_typed(sql, &[(&id.as_str(), Type::TEXT)]).await?;
    let found = |row| Ok((word(row, "status", IncidentStatus::parse)?, column(row, "reopened_at")?));
    rows.first().map(found).transpose()
}

/// The alert's status, and its open incident.
async fn find_alert(client: &Client, id: Uuid) -> Result<Option<(IncidentStatus, Option<IncidentId>)>, StoreError> {
    let sql = "
        SELECT alert.status, incident.incident_id::text AS incident_id
        FROM public.alert_events AS alert
        LEFT JOIN public.incidents AS incident ON incident.id = alert.incident_id AND incident.status <> 'resolved'
        WHERE alert.id = $1";
    let rows = client.query_typed(sql, &[(&id, Type::UUID)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let status = word(row, "status", AlertStatus::parse)?;
    let incident = column::<Option<String>>(row, "incident_id")?.map(IncidentId::from_stored);
    Ok(Some((status.into(), incident)))
}

async fn change_alert(client: &Client, id: Uuid, reaction: &Reaction) -> Result<Reacted, StoreError> {
    let comment = reaction.comment();
    let description = reaction.description(comment.as_deref());
    let details = Value::Object(reaction.details(comment)).to_string();
    let rows = client
        .query_typed(
            include_str!("sql/change_alert.sql"),
            &[
                (&reaction.delivery_key.as_str(), Type::TEXT),
                (&reaction.by, Type::TEXT),
                (&id, Type::UUID),
                (&reaction.action.status().map(|_| reaction.action.audit_suffix()), Type::TEXT),
                (&reaction.at, Type::TIMESTAMPTZ),
                (&uuid_at(reaction.at), Type::UUID),
                (&reaction.agent.id.as_ref(), Type::TEXT),
                (&reaction.agent.kind.as_ref(), Type::TEXT),
                (&format!("alert_{}", reaction.action.audit_suffix()), Type::TEXT),
                (&storable(&description), Type::TEXT),
                (&details, Type::TEXT),
            ],
        )
        .await?;
    rows.first().map_or(Ok(Reacted::Done(None)), |row| Ok(Reacted::Done(column(row, "event_id")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_truncated_to_its_column() {
        for (name, kept) in [
            ("ann", Some("ann")),
            ("  Ann\tB\r\n", Some("Ann B")),
            ("\u{202E}nna\0", Some("nna")),
            (" \n ", None),
            ("", None),
        ] {
            assert_eq!(person(name).as_deref(), kept, "{name:?}");
        }
        assert_eq!(person(&"ü".repeat(60)).map(|name| name.chars().count()), Some(50));
    }
}

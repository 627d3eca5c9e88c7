//! What people do about a problem, wherever they do it: they take it, they end it, or what they did elsewhere is noted. A
//! problem is an incident, which brings its alerts along, or an alert that belongs to none.
//!
//! Each reaction has a delivery key, so that it counts once however often it comes. Doing again what was done changes and
//! writes nothing.
//!
//! Users: `admin`, `slack-actions`, `pagerduty-events`.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::lifecycle::{self, Agent, Step, Target};
use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::text::{first_chars, one_line, storable};
use crate::model::{AlertStatus, DeliveryKey, IncidentId, IncidentStatus, Subject, uuid_at};
use crate::redact::Redactor;

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Takes it: nobody else need be woken.
    Acknowledge,
    /// Ends it.
    Resolve,
    /// Something that changes nothing here, in these words.
    Note(&'static str),
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq)]
pub struct Reaction {
    /// Recognises a redelivery.
    pub delivery_key: DeliveryKey,
    /// What it was.
    pub deed: Deed,
    /// Who it was, as [`person`] makes it.
    pub by: String,
    /// Why, in their own words.
    pub comment: Option<String>,
    /// Who writes it down.
    pub agent: Agent,
    /// When it reached us.
    pub at: DateTime<Utc>,
    /// When it was done, by the clock of whoever tells it: what was done before the incident came back is about another
    /// outbreak. None = now.
    pub done_at: Option<DateTime<Utc>>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reacted {
    /// It stands as was wanted; with the event that tells of the change, if there was one: to be published.
    Done(Option<Uuid>),
    /// It is over: nobody can take it any more. Or it was done before the incident came back.
    Over,
    /// There is no such incident or alert.
    Unknown,
}

/// As many characters as the columns of names hold.
const PERSON_CHARS: usize = 50;
const COMMENT_CHARS: usize = 500;

/// A person's name as it is kept: one line, nothing that acts on a terminal, as long as its column. None for nothing.
#[must_use]
pub fn person(name: &str) -> Option<String> {
    let name = one_line(name);
    let name = first_chars(name.trim(), PERSON_CHARS).trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

impl Deed {
    fn status(self) -> Option<IncidentStatus> {
        match self {
            Self::Acknowledge => Some(IncidentStatus::Acknowledged),
            Self::Resolve => Some(IncidentStatus::Resolved),
            Self::Note(_) => None,
        }
    }

    /// The end of what the audit calls it.
    fn action(self) -> &'static str {
        self.status().map_or("noted", IncidentStatus::as_str)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Acknowledge => "Acknowledged",
            Self::Resolve => "Resolved",
            Self::Note(words) => words,
        }
    }

    /// What becomes of it without anything being written, if that can be told of the present status.
    fn settled(self, now: IncidentStatus) -> Option<Reacted> {
        match (self, now) {
            (Self::Acknowledge, IncidentStatus::Resolved) => Some(Reacted::Over),
            (Self::Acknowledge, IncidentStatus::Acknowledged) | (Self::Resolve, IncidentStatus::Resolved) => {
                Some(Reacted::Done(None))
            }
            _ => None,
        }
    }
}

impl Reaction {
    /// The comment, redacted and bounded.
    fn comment(&self) -> Option<String> {
        let comment = one_line(self.comment.as_deref()?);
        let comment = Redactor::default().text(comment.trim()).into_owned();
        (!comment.is_empty()).then(|| first_chars(&comment, COMMENT_CHARS).to_owned())
    }

    fn description(&self, comment: Option<&str>) -> String {
        let told = comment.map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{} by {}{told}", self.deed.words(), self.by)
    }

    fn details(&self, comment: Option<String>) -> Map<String, Value> {
        let by = ("by".to_owned(), Value::from(self.by.as_str()));
        std::iter::once(by).chain(comment.map(|comment| ("comment".to_owned(), comment.into()))).collect()
    }
}

/// Does it: the incident with its alerts, or the alert; an alert of an incident that is open stands for that. Harmless to
/// repeat.
///
/// # Errors
/// Any store error.
pub async fn react(client: &Client, subject: &Subject, reaction: &Reaction) -> Result<Reacted, StoreError> {
    match subject {
        Subject::Incident(id) => react_to_incident(client, id, reaction).await,
        Subject::Alert(id) => match find_alert(client, *id).await? {
            None => Ok(Reacted::Unknown),
            Some((status, incident)) => match (reaction.deed.settled(status), incident) {
                // One that has ended is over for good, also where its incident was opened again since.
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
    if let Some(reacted) = reaction.deed.settled(status) {
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
        action_type: format!("incident_{}", reaction.deed.action()),
        description: reaction.description(comment.as_deref()),
        details: reaction.details(comment),
        note: None,
        keep_unknown: false,
        received_at: reaction.at,
    };
    let touched = match reaction.deed {
        Deed::Acknowledge => lifecycle::acknowledge_group(client, &step).await?,
        Deed::Resolve => lifecycle::resolve_group(client, &step).await?,
        Deed::Note(_) => lifecycle::note_group(client, &step).await?,
    };
    match touched.and_then(|touched| touched.into_iter().next()) {
        // Somebody was faster, and may have ended it.
        Some(touched) if !touched.changed && reaction.deed.status().is_some() => {
            let status = find_status(client, id).await?;
            Ok(status.and_then(|(status, _)| reaction.deed.settled(status)).unwrap_or(Reacted::Done(None)))
        }
        Some(touched) => Ok(Reacted::Done(touched.event_id)),
        None => Ok(Reacted::Done(None)),
    }
}

/// The incident's status, and when it came back last.
async fn find_status(
    client: &Client,
    id: &IncidentId,
) -> Result<Option<(IncidentStatus, Option<DateTime<Utc>>)>, StoreError> {
    let sql = "SELECT status::text AS status, reopened_at FROM public.incidents WHERE incident_id = $1";
    let rows = client.query_typed(sql, &[(&id.as_str(), Type::TEXT)]).await?;
    let found = |row| Ok((word(row, "status", IncidentStatus::parse)?, column(row, "reopened_at")?));
    rows.first().map(found).transpose()
}

/// The alert's status, and the open incident that it belongs to.
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
                (&reaction.deed.status().map(|_| reaction.deed.action()), Type::TEXT),
                (&reaction.at, Type::TIMESTAMPTZ),
                (&uuid_at(reaction.at), Type::UUID),
                (&reaction.agent.id.as_ref(), Type::TEXT),
                (&reaction.agent.kind.as_ref(), Type::TEXT),
                (&format!("alert_{}", reaction.deed.action()), Type::TEXT),
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
    fn a_name_is_one_line_as_long_as_its_column() {
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

//! What a message of the queue asks for: which subject to evaluate, and why. Pure.

use shared::events::{AlertSubject, Escalation, Event, EventError, HealOutcome, ReceivedEvent};
use shared::model::Receiver;
use uuid::Uuid;

/// An event, and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    /// Its id, the same in each of its copies.
    pub(crate) id: Uuid,
    pub(crate) what: What,
}

/// What to do about an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// An incident has changed.
    Incident(String),
    /// An alert has changed.
    Alert(Uuid),
    /// An incident has become worse.
    Worse(String),
    /// Nobody has reacted in time.
    Unacknowledged(Step),
    /// A playbook has run.
    Heal(HealRun),
    /// Nothing that people are told of.
    Nothing,
}

/// A step of a ladder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) group_key: String,
    pub(crate) policy: String,
    pub(crate) step: u32,
    pub(crate) receivers: Vec<Receiver>,
}

/// A playbook's run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HealRun {
    pub(crate) incident_id: String,
    pub(crate) playbook: String,
    pub(crate) attempt: u32,
    pub(crate) outcome: HealOutcome,
    pub(crate) message: String,
}

/// The event of a message's body.
///
/// # Errors
/// When it is none.
pub(crate) fn parse(body: &str) -> Result<Heard, EventError> {
    let nothing = Heard { id: Uuid::nil(), what: What::Nothing };
    Ok(Event::read(body)?.map_or(nothing, |ReceivedEvent { id, event }| Heard { id, what: what(event) }))
}

fn what(event: Event) -> What {
    match event {
        Event::IncidentOpened(event) => What::Incident(event.incident.incident_id.to_string()),
        Event::IncidentReopened(event) => What::Incident(event.incident.incident_id.to_string()),
        Event::IncidentAcknowledged(event) => What::Incident(event.incident.incident_id.to_string()),
        Event::IncidentResolved(event) => What::Incident(event.incident.incident_id.to_string()),
        Event::AlertRaised(event) => of_alert(event.alert),
        Event::AlertAcknowledged(event) => of_alert(event.alert),
        Event::AlertResolved(event) => of_alert(event.alert),
        Event::AlertEscalated(event) => match event.escalation {
            Escalation::Severity(incident) => What::Worse(incident.incident_id.to_string()),
            Escalation::Unacknowledged { group_key, policy, step, receivers } => {
                What::Unacknowledged(Step { group_key, policy, step, receivers })
            }
        },
        Event::HealFinished(event) => What::Heal(HealRun {
            incident_id: event.incident.incident_id.to_string(),
            playbook: event.playbook,
            attempt: event.attempt,
            outcome: event.outcome,
            message: event.message,
        }),
        Event::ServiceStateChanged(_) | Event::ReportDeferred(_) => What::Nothing,
    }
}

/// An alert of an incident is notified with it.
fn of_alert(alert: AlertSubject) -> What {
    alert.incident_id.map_or(What::Alert(alert.alert_id), |id| What::Incident(id.to_string()))
}

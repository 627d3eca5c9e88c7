//! What a message of the queue says: an event of the bus, as far as telling people needs it. Pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::events::{EscalationReason, HealOutcome};
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Step {
    pub(crate) group_key: String,
    pub(crate) policy: String,
    pub(crate) step: u32,
    pub(crate) receivers: Vec<Receiver>,
}

/// A playbook's run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct HealRun {
    pub(crate) incident_id: String,
    pub(crate) playbook: String,
    pub(crate) attempt: u32,
    pub(crate) outcome: HealOutcome,
    pub(crate) message: String,
}

/// A message that is no event of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is no event of the bus")]
    Envelope(#[source] serde_json::Error),
    #[error("the detail of {detail_type} is not as it should be")]
    Detail {
        detail_type: String,
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "detail-type")]
    detail_type: String,
    detail: Value,
}

#[derive(Deserialize)]
struct Id {
    id: Uuid,
}

#[derive(Deserialize)]
struct OfIncident {
    incident_id: String,
}

#[derive(Deserialize)]
struct OfAlert {
    alert_id: Uuid,
    /// The probe adds it where the alert is an incident's.
    incident_id: Option<String>,
}

#[derive(Deserialize)]
struct Escalated {
    reason: EscalationReason,
}

/// The event of a message's body.
///
/// # Errors
/// When it is none.
pub(crate) fn parse(body: &str) -> Result<Heard, Unreadable> {
    let Envelope { detail_type, detail } = serde_json::from_str(body).map_err(Unreadable::Envelope)?;
    what(&detail_type, &detail).map_err(|source| Unreadable::Detail { detail_type, source })
}

fn what(detail_type: &str, detail: &Value) -> Result<Heard, serde_json::Error> {
    let what = match detail_type {
        "IncidentOpened" | "IncidentReopened" | "IncidentAcknowledged" | "IncidentResolved" => {
            What::Incident(read::<OfIncident>(detail)?.incident_id)
        }
        "AlertRaised" | "AlertAcknowledged" | "AlertResolved" => match read::<OfAlert>(detail)? {
            OfAlert { incident_id: Some(id), .. } => What::Incident(id),
            OfAlert { alert_id, .. } => What::Alert(alert_id),
        },
        "AlertEscalated" => match read::<Escalated>(detail)?.reason {
            EscalationReason::Severity => What::Worse(read::<OfIncident>(detail)?.incident_id),
            EscalationReason::Unacknowledged => What::Unacknowledged(read(detail)?),
        },
        "HealFinished" => What::Heal(read(detail)?),
        _ => return Ok(Heard { id: Uuid::nil(), what: What::Nothing }),
    };
    Ok(Heard { id: read::<Id>(detail)?.id, what })
}

fn read<T: DeserializeOwned>(detail: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(detail_type: &str, detail: Value) -> String {
        json!({"version": "0", "id": Uuid::new_v4(), "detail-type": detail_type, "source": "watchkeeper", "detail": detail})
            .to_string()
    }

    #[test]
    fn an_event_says_what_to_look_at() {
        let id = Uuid::from_u128(7);
        let alert_id = Uuid::from_u128(8);
        for (detail_type, detail, wanted) in [
            ("IncidentOpened", json!({"id": id, "incident_id": "INC-1"}), What::Incident("INC-1".to_owned())),
            ("IncidentResolved", json!({"id": id, "incident_id": "INC-1"}), What::Incident("INC-1".to_owned())),
            ("AlertRaised", json!({"id": id, "alert_id": alert_id}), What::Alert(alert_id)),
            (
                "AlertRaised",
                json!({"id": id, "alert_id": alert_id, "incident_id": "INC-1"}),
                What::Incident("INC-1".to_owned()),
            ),
            (
                "AlertEscalated",
                json!({"id": id, "reason": "severity", "incident_id": "INC-1"}),
                What::Worse("INC-1".to_owned()),
            ),
            (
                "AlertEscalated",
                json!({"id": id, "reason": "unacknowledged", "group_key": "a", "policy": "p", "step": 2, "receivers": ["sms"]}),
                What::Unacknowledged(Step {
                    group_key: "a".to_owned(),
                    policy: "p".to_owned(),
                    step: 2,
                    receivers: vec![Receiver::parse("sms").unwrap()],
                }),
            ),
        ] {
            assert_eq!(parse(&body(detail_type, detail)).unwrap(), Heard { id, what: wanted }, "{detail_type}");
        }
    }

    #[test]
    fn what_nobody_is_told_of_is_nothing_and_what_is_damaged_is_refused() {
        assert_eq!(parse(&body("PatternFound", json!({}))).unwrap().what, What::Nothing);
        for damaged in
            ["", "{}", "[]", &body("IncidentOpened", json!({"id": Uuid::nil()})), &body("HealFinished", json!(1))]
        {
            assert!(parse(damaged).is_err(), "{damaged}");
        }
    }
}

//! Parses a webhook of `PagerDuty`, version 3: one event per request. Any field may be missing or of another type.
//!
//! Source: <https://developer.pagerduty.com/docs/webhooks-overview>.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::store::reactions::{Action, person};

use crate::alerts::is_key;

/// The longest incident id of PagerDuty.
const ID_CHARS: usize = 50;

/// The meaning of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A person acted on an incident.
    Did(PersonAction),
    /// Nothing to do, and why.
    Nothing(&'static str),
}

/// A person's action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonAction {
    /// Identifies the event; the same in a retry.
    pub event_id: String,
    /// The action.
    pub kind: Action,
    /// The incident.
    pub about: About,
    /// `pagerduty:Earline Greenholt`.
    pub by: String,
    /// When, by PagerDuty's clock.
    pub at: Option<DateTime<Utc>>,
}

/// A PagerDuty incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Opened under this `dedup_key`, which may be ours.
    Key(String),
    /// With this id: its alerts have the keys.
    Incident(String),
}

/// The meaning of a body.
#[must_use]
pub fn meaning(body: &Value) -> Meaning {
    let event = &body["event"];
    let kind = match event["event_type"].as_str() {
        Some("incident.acknowledged") => Action::Acknowledge,
        Some("incident.resolved") => Action::Resolve,
        Some("incident.unacknowledged") => Action::Note("Unacknowledged in PagerDuty"),
        Some("incident.reopened") => Action::Note("Reopened in PagerDuty"),
        Some("pagey.ping") => return Meaning::Nothing("a ping"),
        _ => return Meaning::Nothing("it is no action on an incident"),
    };
    // A merged incident's alerts continue in another one: they are not resolved.
    if event["data"]["resolve_reason"]["type"] == "merge_resolve_reason" {
        return Meaning::Nothing("it was merged into another");
    }
    if !is_person(&event["agent"]) {
        return Meaning::Nothing("no person did it");
    }
    let text = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let data = &event["data"];
    let key = text(&data["incident_key"]).filter(|key| is_key(key)).map(About::Key);
    let about = key.or_else(|| text(&data["id"]).filter(|id| is_id(id)).map(About::Incident));
    match text(&event["id"]).zip(about) {
        Some((event_id, about)) => {
            let at = event["occurred_at"].as_str().and_then(|at| at.parse().ok());
            Meaning::Did(PersonAction { event_id, kind, about, by: name_of(&event["agent"]), at })
        }
        None => Meaning::Nothing("it names no incident"),
    }
}

/// Whether it may be an incident's id: it becomes part of a URL.
fn is_id(id: &str) -> bool {
    id.len() <= ID_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a person did it. Integrations, service rules, time-outs and unnamed agents are machines: our own
/// notifications come back this way, perhaps after our incident was reopened.
fn is_person(agent: &Value) -> bool {
    agent["type"] == "user_reference"
}

fn name_of(agent: &Value) -> String {
    let name = agent["summary"].as_str().and_then(person);
    name.and_then(|name| person(&format!("pagerduty:{name}"))).unwrap_or_else(|| "pagerduty".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ACKNOWLEDGED: &str = include_str!("../fixtures/incident-acknowledged.json");

    fn changed(change: &dyn Fn(&mut Value)) -> Meaning {
        let mut body = serde_json::from_str(ACKNOWLEDGED).unwrap();
        change(&mut body);
        meaning(&body)
    }

    fn action(meaning: Meaning) -> PersonAction {
        match meaning {
            Meaning::Did(action) => action,
            Meaning::Nothing(why) => panic!("{why}"),
        }
    }

    #[test]
    fn action_person_and_incident_are_parsed() {
        let acknowledged = action(changed(&|_| {}));
        let expected = PersonAction {
            event_id: "5ac64822-4adc-4fda-ade0-410becf0de4f".to_owned(),
            kind: Action::Acknowledge,
            about: About::Incident("PGR0VU2".to_owned()),
            by: "pagerduty:Earline Greenholt".to_owned(),
            at: "2026-11-24T12:00:00Z".parse().ok(),
        };
        assert_eq!(acknowledged, expected);
        for (kind, expected) in [
            ("incident.resolved", Action::Resolve),
            ("incident.unacknowledged", Action::Note("Unacknowledged in PagerDuty")),
            ("incident.reopened", Action::Note("Reopened in PagerDuty")),
        ] {
            assert_eq!(action(changed(&|body| body["event"]["event_type"] = kind.into())).kind, expected);
        }
        assert_eq!(action(changed(&|body| body["event"]["agent"]["summary"] = Value::Null)).by, "pagerduty");
        // With an incident key, no lookup is needed.
        for (key, about) in [
            ("watchkeeper:(built-in)/incident:INC-1", About::Key("watchkeeper:(built-in)/incident:INC-1".to_owned())),
            ("", About::Incident("PGR0VU2".to_owned())),
            ("\0", About::Incident("PGR0VU2".to_owned())),
            (&"x".repeat(256), About::Incident("PGR0VU2".to_owned())),
        ] {
            assert_eq!(action(changed(&|body| body["event"]["data"]["incident_key"] = key.into())).about, about);
        }
    }

    #[test]
    fn irrelevant_events_are_ignored() {
        for change in [
            &(|body: &mut Value| body["event"]["event_type"] = "incident.triggered".into()) as &dyn Fn(&mut Value),
            &|body| body["event"]["event_type"] = "pagey.ping".into(),
            &|body| body["event"]["event_type"] = Value::Null,
            &|body| body["event"]["id"] = Value::Null,
            &|body| body["event"]["data"]["id"] = Value::Null,
            &|body| body["event"]["data"]["id"] = "../users".into(),
            &|body| body["event"]["data"]["id"] = "X".repeat(51).into(),
            &|body| body["event"]["data"]["resolve_reason"] = json!({"type": "merge_resolve_reason"}),
            &|body| body["event"]["agent"] = Value::Null,
            &|body| body["event"]["data"] = json!([]),
            &|body| body["event"]["agent"]["type"] = "inbound_integration_reference".into(),
            &|body| body["event"]["agent"]["type"] = "service_reference".into(),
            &|body| *body = json!({}),
        ] {
            assert!(matches!(changed(change), Meaning::Nothing(_)));
        }
    }
}

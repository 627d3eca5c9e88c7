//! From a body to what was done in `PagerDuty`, version 3 of its webhooks: one event a request. Any field may be missing or
//! of another type.
//!
//! Source: <https://developer.pagerduty.com/docs/webhooks-overview>.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::store::reactions::{Action, person};

use crate::alerts::is_key;

/// The id of an incident there is no longer.
const ID_CHARS: usize = 50;

/// What a delivery means for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Somebody did something about an incident of theirs.
    Did(Done),
    /// Nothing, and why.
    Nothing(&'static str),
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Tells the event from every other, also when it is sent again.
    pub event_id: String,
    /// What it was.
    pub action: Action,
    /// What it was done about.
    pub about: About,
    /// `pagerduty:Earline Greenholt`.
    pub by: String,
    /// When, by their clock.
    pub at: Option<DateTime<Utc>>,
}

/// Which incident of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The one that was opened under this `dedup_key`, which may be ours.
    Key(String),
    /// The one of this id: its alerts have the keys.
    Incident(String),
}

/// What a body means.
#[must_use]
pub fn meaning(body: &Value) -> Meaning {
    let event = &body["event"];
    let action = match event["event_type"].as_str() {
        Some("incident.acknowledged") => Action::Acknowledge,
        Some("incident.resolved") => Action::Resolve,
        Some("incident.unacknowledged") => Action::Note("Unacknowledged in PagerDuty"),
        Some("incident.reopened") => Action::Note("Reopened in PagerDuty"),
        Some("pagey.ping") => return Meaning::Nothing("a ping"),
        _ => return Meaning::Nothing("nothing was done about an incident"),
    };
    // Its alerts go on in another one, of which nobody has said that it is over.
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
            Meaning::Did(Done { event_id, action, about, by: name_of(&event["agent"]), at })
        }
        None => Meaning::Nothing("it names no incident"),
    }
}

/// Whether it can be an id of theirs: it becomes part of an address.
fn is_id(id: &str) -> bool {
    id.len() <= ID_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether somebody did it. An integration, a rule of the service, a time-out and whatever runs without a name are machines:
/// among them is what we tell them ourselves, which comes back, perhaps after our incident was opened again.
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

    fn done(meaning: Meaning) -> Done {
        match meaning {
            Meaning::Did(done) => done,
            Meaning::Nothing(why) => panic!("{why}"),
        }
    }

    #[test]
    fn who_did_what_about_which_of_our_keys_is_read() {
        let acknowledged = done(changed(&|_| {}));
        let expected = Done {
            event_id: "5ac64822-4adc-4fda-ade0-410becf0de4f".to_owned(),
            action: Action::Acknowledge,
            about: About::Incident("PGR0VU2".to_owned()),
            by: "pagerduty:Earline Greenholt".to_owned(),
            at: "2026-11-24T12:00:00Z".parse().ok(),
        };
        assert_eq!(acknowledged, expected);
        for (kind, action) in [
            ("incident.resolved", Action::Resolve),
            ("incident.unacknowledged", Action::Note("Unacknowledged in PagerDuty")),
            ("incident.reopened", Action::Note("Reopened in PagerDuty")),
        ] {
            assert_eq!(done(changed(&|body| body["event"]["event_type"] = kind.into())).action, action);
        }
        assert_eq!(done(changed(&|body| body["event"]["agent"]["summary"] = Value::Null)).by, "pagerduty");
        // Where it says under which key it was opened, nobody needs to be asked.
        for (key, about) in [
            ("watchkeeper:(built-in)/incident:INC-1", About::Key("watchkeeper:(built-in)/incident:INC-1".to_owned())),
            ("", About::Incident("PGR0VU2".to_owned())),
            ("\0", About::Incident("PGR0VU2".to_owned())),
            (&"x".repeat(256), About::Incident("PGR0VU2".to_owned())),
        ] {
            assert_eq!(done(changed(&|body| body["event"]["data"]["incident_key"] = key.into())).about, about);
        }
    }

    #[test]
    fn what_is_not_for_us_is_passed_over() {
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

//! From a body to what was done in `PagerDuty`, version 3 of its webhooks: one event a request. Any field may be missing or
//! of another type.
//!
//! Source: <https://developer.pagerduty.com/docs/webhooks-overview>.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::store::reactions::{Deed, person};

/// As many characters as our keys have at most.
const KEY_CHARS: usize = 255;

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
    pub deed: Deed,
    /// Our own `dedup_key`, by which they call what we told them of.
    pub dedup_key: String,
    /// `pagerduty:Earline Greenholt`.
    pub by: String,
    /// When, by their clock.
    pub at: Option<DateTime<Utc>>,
}

/// What a body means.
#[must_use]
pub fn meaning(body: &Value) -> Meaning {
    let event = &body["event"];
    let deed = match event["event_type"].as_str() {
        Some("incident.acknowledged") => Deed::Acknowledge,
        Some("incident.resolved") => Deed::Resolve,
        Some("incident.unacknowledged") => Deed::Note("Unacknowledged in PagerDuty"),
        Some("incident.reopened") => Deed::Note("Reopened in PagerDuty"),
        Some("pagey.ping") => return Meaning::Nothing("a ping"),
        _ => return Meaning::Nothing("nothing was done about an incident"),
    };
    if is_machine(&event["agent"]) {
        return Meaning::Nothing("no person did it");
    }
    let text = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    match (text(&event["id"]), text(&event["data"]["incident_key"])) {
        (Some(event_id), Some(dedup_key)) if dedup_key.chars().count() <= KEY_CHARS && !dedup_key.contains('\0') => {
            let at = event["occurred_at"].as_str().and_then(|at| at.parse().ok());
            Meaning::Did(Done { event_id, deed, dedup_key, by: name_of(&event["agent"]), at })
        }
        _ => Meaning::Nothing("it names no incident of ours"),
    }
}

/// Whether it was an integration, or a rule of the service: among them is what we tell them ourselves, which comes back
/// like this, perhaps after our incident was opened again.
fn is_machine(agent: &Value) -> bool {
    let kind = agent["type"].as_str().unwrap_or_default();
    kind.ends_with("integration_reference") || kind.ends_with("service_reference")
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
            deed: Deed::Acknowledge,
            dedup_key: "watchkeeper/production/INC-MWTIGJFU-L1J3P9C2".to_owned(),
            by: "pagerduty:Earline Greenholt".to_owned(),
            at: "2026-11-24T12:00:00Z".parse().ok(),
        };
        assert_eq!(acknowledged, expected);
        for (kind, deed) in [
            ("incident.resolved", Deed::Resolve),
            ("incident.unacknowledged", Deed::Note("Unacknowledged in PagerDuty")),
            ("incident.reopened", Deed::Note("Reopened in PagerDuty")),
        ] {
            assert_eq!(done(changed(&|body| body["event"]["event_type"] = kind.into())).deed, deed);
        }
        assert_eq!(done(changed(&|body| body["event"]["agent"] = Value::Null)).by, "pagerduty");
    }

    #[test]
    fn what_is_not_for_us_is_passed_over() {
        for change in [
            &(|body: &mut Value| body["event"]["event_type"] = "incident.triggered".into()) as &dyn Fn(&mut Value),
            &|body| body["event"]["event_type"] = "pagey.ping".into(),
            &|body| body["event"]["event_type"] = Value::Null,
            &|body| body["event"]["id"] = Value::Null,
            &|body| body["event"]["data"]["incident_key"] = "".into(),
            &|body| body["event"]["data"]["incident_key"] = "\0".into(),
            &|body| body["event"]["data"]["incident_key"] = "x".repeat(256).into(),
            &|body| body["event"]["data"] = json!([]),
            &|body| body["event"]["agent"]["type"] = "inbound_integration_reference".into(),
            &|body| body["event"]["agent"]["type"] = "service_reference".into(),
            &|body| *body = json!({}),
        ] {
            assert!(matches!(changed(change), Meaning::Nothing(_)));
        }
    }
}

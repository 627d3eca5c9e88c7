//! From a form to clicks: the field `payload` holds JSON of type `block_actions`. Other payloads of Slack's (a shortcut, a
//! certificate check) are ignored; any field may be missing or of another type.

use serde_json::{Value, json};
use shared::http::{ApiError, read_json};
use shared::model::{DeliveryKey, Subject};
use shared::slack_buttons::Button;
use shared::store::reactions::{Action, person};
use url::form_urlencoded;

/// A message has a few buttons; a request with more clicks is not from Slack.
const CLICKS: usize = 20;

/// A click on one of our buttons.
#[derive(Debug, Clone, PartialEq)]
pub struct Click {
    /// Makes it idempotent.
    pub delivery_key: DeliveryKey,
    /// What the button does.
    pub action: Action,
    /// The incident or alert.
    pub subject: Subject,
    /// `slack:ann`.
    pub by: String,
}

/// The clicks on our buttons in a form.
///
/// # Errors
/// 400 when its payload is no JSON.
pub fn clicks(form: &[u8]) -> Result<Vec<Click>, ApiError> {
    let Some((_, payload)) = form_urlencoded::parse(form).find(|(name, _)| name == "payload") else {
        tracing::info!("ignored Slack form: no payload");
        return Ok(Vec::new());
    };
    let payload = read_json(payload.as_bytes())?;
    if payload["type"] != "block_actions" {
        tracing::info!("ignored Slack payload: not block_actions");
        return Ok(Vec::new());
    }
    let actions = payload["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(actions.iter().take(CLICKS).filter_map(|button| click(button, &payload["user"])).collect())
}

fn click(button: &Value, user: &Value) -> Option<Click> {
    let text = |name: &str| button[name].as_str();
    // Slack sends a click on a button that is only a link, too.
    let action = match Button::parse(text("action_id")?)? {
        Button::Acknowledge => Action::Acknowledge,
        Button::Resolve => Action::Resolve,
    };
    let subject = Subject::parse(text("value")?)?;
    let content = json!([text("action_ts"), text("action_id"), text("value"), user["id"]]);
    Some(Click {
        delivery_key: DeliveryKey::derived("slack", content.to_string().as_bytes()),
        action,
        subject,
        by: person(&format!("slack:{}", name_of(user))).unwrap_or_else(|| "slack".to_owned()),
    })
}

fn name_of(user: &Value) -> &str {
    let names = ["username", "name", "id"].iter().filter_map(|key| user[*key].as_str());
    names.map(str::trim).find(|name| !name.is_empty()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(payload: &Value) -> Vec<u8> {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &payload.to_string())
            .finish()
            .into_bytes()
    }

    fn payload() -> Value {
        json!({
            "type": "block_actions",
            "user": {"id": "U0CA5", "username": "ann", "name": "ann.b"},
            "actions": [{
                "type": "button", "action_id": "acknowledge", "value": "INC-MWTIGJFU-L1J3P9C2",
                "action_ts": "1795521600.123456"
            }],
        })
    }

    #[test]
    fn a_click_is_parsed_with_its_person() {
        let clicks = clicks(&form(&payload())).unwrap();
        assert_eq!(clicks.len(), 1);
        assert_eq!((clicks[0].action, clicks[0].by.as_str()), (Action::Acknowledge, "slack:ann"));
        assert_eq!(clicks[0].subject.to_string(), "incident:INC-MWTIGJFU-L1J3P9C2");
    }

    #[test]
    fn each_click_has_its_own_delivery_key() {
        let key = |change: &dyn Fn(&mut Value)| {
            let mut payload = payload();
            change(&mut payload);
            clicks(&form(&payload)).unwrap().remove(0).delivery_key
        };
        let first = key(&|_| {});
        assert_eq!(key(&|payload| payload["trigger_id"] = "again".into()), first);
        for change in [
            &(|payload: &mut Value| payload["actions"][0]["action_ts"] = "1795521601.1".into()) as &dyn Fn(&mut Value),
            &|payload| payload["actions"][0]["action_id"] = "resolve".into(),
            &|payload| payload["actions"][0]["value"] = "INC-2".into(),
            &|payload| payload["user"]["id"] = "U1".into(),
        ] {
            assert_ne!(key(change), first);
        }
    }

    #[test]
    fn other_payloads_are_ignored() {
        for change in [
            &(|payload: &mut Value| payload["type"] = "shortcut".into()) as &dyn Fn(&mut Value),
            &|payload| payload["actions"] = Value::Null,
            &|payload| payload["actions"][0]["action_id"] = "open".into(),
            &|payload| payload["actions"][0]["value"] = "alert:7".into(),
            &|payload| payload["actions"][0]["value"] = Value::Null,
            &|payload| *payload = json!([]),
        ] {
            let mut payload = payload();
            change(&mut payload);
            assert_eq!(clicks(&form(&payload)).unwrap(), [], "{payload}");
        }
        for form in ["ssl_check=1&token=x", "", "%ff"] {
            assert_eq!(clicks(form.as_bytes()).unwrap(), [], "{form}");
        }
        assert!(clicks(b"payload={").is_err());
    }

    #[test]
    fn a_person_without_a_name_is_named_by_the_id() {
        for (user, name) in [
            (json!({"id": "U0CA5", "username": " "}), "U0CA5"),
            (json!({"name": "ann.b"}), "ann.b"),
            (json!(null), "unknown"),
        ] {
            assert_eq!(name_of(&user), name);
        }
    }
}

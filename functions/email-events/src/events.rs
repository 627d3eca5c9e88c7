//! Parses a body into events. Pure. `SendGrid` copies an email's arguments into its events.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::http::ApiError;
use shared::model::DeliveryKey;
use shared::store::emails::{EmailEvent, EmailStage};
use uuid::Uuid;

/// The argument of our emails: the notification's id.
const OURS: &str = "notification_id";

/// The events of our emails with a known stage; others are ignored.
///
/// # Errors
/// 400 when the body is not an array.
pub fn parse(body: &Value) -> Result<Vec<EmailEvent>, ApiError> {
    let Value::Array(events) = body else { return Err(ApiError::invalid("the body must be an array of events")) };
    Ok(events.iter().filter_map(event).collect())
}

fn event(event: &Value) -> Option<EmailEvent> {
    let text = |key: &str| event[key].as_str().filter(|text| !text.is_empty());
    let email_id = Uuid::parse_str(text(OURS)?).ok()?;
    let stage = stage(text("event")?)?;
    if stage == EmailStage::Opened && event["sg_machine_open"] == true {
        // A mail program has loaded it automatically: no person has opened it.
        return None;
    }
    let at: DateTime<Utc> = DateTime::from_timestamp(event["timestamp"].as_i64()?, 0)?;
    let reason = text("reason").or_else(|| text("response")).map(str::to_owned);
    // Without an id, the content identifies the event.
    let name = match text("sg_event_id") {
        Some(id) => id.to_owned(),
        None => format!("{email_id} {} {} {}", stage.as_str(), at.timestamp(), text("email").unwrap_or_default()),
    };
    // Includes the email's id, so that a signed event id can't be used for another email.
    let key = DeliveryKey::derived("sendgrid", format!("{email_id} {name}").as_bytes());
    Some(EmailEvent { key, email_id, stage, at, reason })
}

fn stage(name: &str) -> Option<EmailStage> {
    Some(match name {
        "processed" => EmailStage::Processed,
        "deferred" => EmailStage::Deferred,
        "delivered" => EmailStage::Delivered,
        "open" => EmailStage::Opened,
        "click" => EmailStage::Clicked,
        "dropped" => EmailStage::Dropped,
        "bounce" => EmailStage::Bounced,
        "spamreport" => EmailStage::Spam,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "01900000-0000-7000-8000-000000000001";

    #[test]
    fn only_events_of_our_emails_are_parsed() {
        let given = json!([
            {"event": "processed", "timestamp": 1, "sg_event_id": "a", "notification_id": ID},
            {"event": "bounce", "timestamp": 2, "sg_event_id": "b", "notification_id": ID, "reason": "550 no such user"},
            {"event": "deferred", "timestamp": 3, "sg_event_id": "c", "notification_id": ID, "response": "400 later"},
            {"event": "delivered", "timestamp": 2, "sg_event_id": "d"},
            {"event": "delivered", "timestamp": 2, "sg_event_id": "d", "notification_id": "17"},
            {"event": "group_unsubscribe", "timestamp": 2, "sg_event_id": "e", "notification_id": ID},
            {"event": "open", "timestamp": "2", "sg_event_id": "f", "notification_id": ID},
            {"event": "open", "timestamp": 2, "sg_event_id": "g", "notification_id": ID, "sg_machine_open": true},
            {"event": 7}, 7, null, [], "open",
        ]);
        let found = parse(&given).unwrap();
        let seen: Vec<_> = found.iter().map(|it| (it.stage, it.at.timestamp(), it.reason.as_deref())).collect();
        assert_eq!(
            seen,
            [
                (EmailStage::Processed, 1, None),
                (EmailStage::Bounced, 2, Some("550 no such user")),
                (EmailStage::Deferred, 3, Some("400 later")),
            ]
        );
    }

    #[test]
    fn an_event_is_identified_by_its_id_else_by_its_content() {
        let event = |change: &dyn Fn(&mut Value)| {
            let mut event = json!({"event": "open", "timestamp": 1, "sg_event_id": "a", "notification_id": ID});
            change(&mut event);
            parse(&json!([event])).unwrap().remove(0).key
        };
        let first = event(&|_| {});
        assert_eq!(first, event(&|it| it["timestamp"] = json!(2)));
        assert_ne!(first, event(&|it| it["sg_event_id"] = json!("b")));
        let bare = |at: i64| event(&|it| *it = json!({"event": "open", "timestamp": at, "notification_id": ID}));
        assert_eq!(bare(1), bare(1));
        assert_ne!(bare(1), bare(2));
    }

    #[test]
    fn a_body_that_is_not_an_array_is_refused() {
        for body in [json!({}), json!(null), json!("x")] {
            assert!(parse(&body).is_err(), "{body}");
        }
    }
}

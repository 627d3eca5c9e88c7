//! PagerDuty's Events API v2. Its incidents are found again by our own `dedup_key`: what PagerDuty would make up is lost
//! with a lost answer.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use shared::address::Address;
use shared::model::Severity;
use shared::model::text::first_chars;

use super::http::Http;
use super::text::line;
use super::wording::{self, Fact};
use super::{Delivery, SendError, Sent};
use crate::notification::{Notification, Problem};
use crate::pagerduty_state::{self, Action};

/// PagerDuty's limits.
const SUMMARY: usize = 1_024;
const KEY: usize = 255;
const EVENT_BYTES: usize = 512_000;
/// An error's own words are cut to this.
const MESSAGE: usize = 10_000;
/// A retry waits at least this long.
const PAUSE: Duration = Duration::from_secs(30);

pub(super) async fn send(
    http: &Http,
    (key, api): (&SecretString, &Address),
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Sent, SendError> {
    let Some(action) = pagerduty_state::action(&delivery.notification) else { return Ok(Sent::default()) };
    let address = api.under("/v2/enqueue");
    let body = bounded(event(action, key, delivery));
    let taken = http.take("PagerDuty", &address, http.post(&address).json(&body), now).await;
    let answer = taken.map_err(|error| match error {
        SendError::Later { what, status: status @ Some(_), after } => {
            SendError::Later { what, status, after: after.max(Some(PAUSE)) }
        }
        other => other,
    })?;
    Ok(answer.sent(Some(json!({"dedup_key": body["dedup_key"]}))))
}

pub(super) fn event(action: Action, key: &SecretString, delivery: &Delivery) -> Value {
    let notification = &delivery.notification;
    let mut event = json!({
        "routing_key": key.expose_secret(),
        "event_action": action.as_str(),
        "dedup_key": first_chars(&delivery.dedup_key, KEY),
        "client": "Watchkeeper",
    });
    if action != Action::Trigger {
        return event;
    }
    event["payload"] = payload(notification);
    let links: Vec<_> = notification.problems.iter().filter_map(link).collect();
    if let Some(first) = links.first() {
        event["client_url"] = first["href"].clone();
    }
    event["links"] = json!(links);
    event
}

fn payload(notification: &Notification) -> Value {
    let mut payload = json!({
        "summary": line(&summary(notification), SUMMARY),
        "severity": severity(wording::severity(notification)),
        "source": notification.problems.first().map_or_else(|| "watchkeeper".to_owned(), wording::place),
        "timestamp": notification.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "custom_details": details(notification),
    });
    if let Some(problem) = notification.problems.first() {
        let component = problem.service.as_ref().unwrap_or(&problem.application);
        payload["component"] = json!(line(component, KEY));
        payload["group"] = json!(line(notification.group.as_ref().unwrap_or(&problem.application), KEY));
        payload["class"] = json!(problem.category.as_str());
    }
    payload
}

fn summary(notification: &Notification) -> String {
    let headline = wording::headline(notification);
    wording::only_problem(notification)
        .map_or_else(|| headline.clone(), |problem| format!("{headline}: {}", wording::place(problem)))
}

fn details(notification: &Notification) -> Value {
    let mut details = Map::new();
    match wording::only_problem(notification) {
        Some(problem) => {
            for Fact { label, value } in wording::facts(problem) {
                details.insert(label.to_owned(), json!(value));
            }
            if let Some(message) = wording::message(problem, MESSAGE) {
                details.insert("Message".to_owned(), json!(message));
            }
        }
        None => {
            let entries: Vec<_> = notification.problems.iter().map(wording::entry).collect();
            details.insert("Problems".to_owned(), json!(entries));
        }
    }
    for remark in wording::remarks(notification) {
        details.insert("Remark".to_owned(), json!(remark));
    }
    Value::Object(details)
}

fn link(problem: &Problem) -> Option<Value> {
    let text = wording::reference(problem).unwrap_or_else(|| "More".to_owned());
    Some(json!({"href": wording::link(problem)?, "text": text}))
}

/// An event that is too large is refused as a whole: then it goes without its details, and says so.
fn bounded(mut event: Value) -> Value {
    if event.to_string().len() > EVENT_BYTES {
        event["payload"]["custom_details"] = json!({"Remark": "The details were too large and are left out"});
    }
    event
}

fn severity(severity: Option<Severity>) -> &'static str {
    match severity {
        Some(Severity::Critical) => "critical",
        Some(Severity::High) => "error",
        Some(Severity::Medium) | None => "warning",
        Some(Severity::Low) => "info",
    }
}

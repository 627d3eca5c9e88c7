//! Maps deliveries to reports and steps: one file per kind. Pure.
//!
//! Delivery keys are derived from signed content only: ids and times of the body, else the whole body.

mod activity_alert;
mod comment;
mod event;
mod installation;
mod issue;
pub mod legacy;
mod metric_alert;
mod preprod_artifact;
mod seer;
pub mod service_hook;
mod unknown;
mod vocabulary;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use shared::fingerprint::Fingerprint;
use shared::model::{DeliveryKey, Report, UpstreamGroup};
use shared::sentry_event::apply_level;
pub use shared::store::lifecycle::Change;
use shared::store::lifecycle::{Agent, Step, Target};
use url::Url;

use crate::payload::{Delivery, id, text};

pub use vocabulary::kind_of;

/// The source of the reports, and who resolved an incident that was resolved in Sentry.
const SOURCE: &str = "sentry";

/// The agent in the audit rows of steps.
const AGENT: Agent = Agent::new("sentry-webhook", "intake");

/// The meaning of a delivery.
#[derive(Debug)]
pub enum Meaning {
    /// An error; the step, if there is one, is stored after it.
    Report(Box<Report>, Option<Box<Step>>),
    /// A change of an incident, if there is one for it.
    Step(Change, Box<Step>),
    /// An error returned: reopens its incident; without one, the report opens a new incident.
    Return(Box<Step>, Option<Box<Report>>),
    /// Nothing to store, for this reason.
    Ignored(&'static str),
}

/// The meaning of this delivery.
#[must_use]
pub fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    if !vocabulary::is_known(delivery.resource(), delivery.action()) {
        return unknown::meaning(delivery, now);
    }
    match delivery.resource() {
        "error" => event::meaning(delivery.data("error"), now),
        "event_alert" => event::meaning(delivery.data("event"), now),
        "issue" => issue::meaning(delivery, now),
        "metric_alert" => metric_alert::meaning(delivery, now),
        "comment" => comment::meaning(delivery, now),
        "seer" => seer::meaning(delivery, now),
        "activity_alert" => activity_alert::meaning(delivery, now),
        "installation" => installation::meaning(delivery, now),
        _ => preprod_artifact::meaning(delivery, now),
    }
}

/// The number of the delivery's Sentry project, if present.
#[must_use]
pub fn project_of(delivery: &Delivery) -> Option<String> {
    ["error", "event"]
        .iter()
        .find_map(|name| id(delivery.data(name), "project"))
        .or_else(|| id(delivery.data("issue").get("project")?, "id"))
}

/// A step for this delivery; its action type is one of the vocabulary.
fn step(delivery: &Delivery, key: DeliveryKey, group: Option<String>, now: DateTime<Utc>) -> Step {
    let (resource, action) = (delivery.resource(), delivery.action());
    let mut step = Step {
        delivery_key: key,
        source: SOURCE.to_owned(),
        agent: AGENT,
        target: group.map_or(Target::Nothing, target),
        as_of: None,
        action_type: format!("sentry_{resource}_{action}"),
        description: format!("Sentry: {} {}", words(resource), words(action)),
        details: Map::new(),
        note: Some(json!({ "resource": resource, "action": action })),
        keep_unknown: true,
        received_at: now,
    };
    detail(&mut step, "actor", delivery.actor_kind());
    step
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// The incidents of a Sentry group.
fn target(group: String) -> Target {
    Target::Group(Fingerprint::of_group(&UpstreamGroup { system: SOURCE.into(), id: group }))
}

/// Adds a detail, if there is a value. It is redacted and cut later, with the step.
fn detail(step: &mut Step, name: &str, value: Option<impl AsRef<str>>) {
    if let Some(value) = value.filter(|value| !value.as_ref().is_empty()) {
        step.details.insert(name.to_owned(), value.as_ref().into());
    }
}

/// Adds to the context, if there is a value.
fn keep(report: &mut Report, name: &str, value: &str) {
    if !value.is_empty() {
        report.context.insert(name.to_owned(), json!(value));
    }
}

/// The key of a delivery whose kind has an id of its own; without one, of its content.
fn delivery_key(kind: &str, id: Option<&str>, content: &Value) -> DeliveryKey {
    let text = match id {
        Some(id) => format!("{kind}/{id}"),
        None => format!("{kind}//{content}"),
    };
    DeliveryKey::derived(SOURCE, text.as_bytes())
}

/// The key of a delivery without an id: of its raw body.
fn body_key(delivery: &Delivery) -> DeliveryKey {
    let mut content = b"body/".to_vec();
    content.extend_from_slice(delivery.raw());
    DeliveryKey::derived(SOURCE, &content)
}

/// An instant of Sentry's, at most now: its clock, or a client's, may be wrong.
fn instant(value: &Value, name: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text(value, name)?).ok()?;
    Some(at.with_timezone(&Utc).clamp(DateTime::UNIX_EPOCH, now))
}

/// The project's slug in an event's address: `…/projects/ORGANISATION/PROJECT/events/…`.
fn project_slug(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut segments = url.path_segments()?.skip_while(|segment| *segment != "projects").skip(2);
    segments.next().filter(|slug| !slug.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;

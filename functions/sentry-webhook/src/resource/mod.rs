//! What a delivery means to us: one file per kind. Pure.
//!
//! Delivery keys are made of signed content only: ids and times of the body, else the whole of it.

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

/// What reports from here are called, and who has handled an incident that was resolved here.
const SOURCE: &str = "sentry";

/// Who writes steps down.
const AGENT: Agent = Agent::new("sentry-webhook", "intake");

/// What a delivery means.
#[derive(Debug)]
pub enum Meaning {
    /// An error; the step, if there is one, follows once it is stored.
    Report(Box<Report>, Option<Box<Step>>),
    /// Something that happens to an incident, if we know it.
    Step(Change, Box<Step>),
    /// An error is back: reopens its incident, and where none is known it is the report of a new one.
    Return(Box<Step>, Option<Box<Report>>),
    /// Nothing to store, for this reason.
    Ignored(&'static str),
}

/// What this delivery means.
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

/// The number of the Sentry project that a delivery is about, where it tells.
#[must_use]
pub fn project_of(delivery: &Delivery) -> Option<String> {
    ["error", "event"]
        .iter()
        .find_map(|name| id(delivery.data(name), "project"))
        .or_else(|| id(delivery.data("issue").get("project")?, "id"))
}

/// A step of this delivery; its kind is one of the vocabulary.
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

/// The incidents of a group of Sentry's.
fn target(group: String) -> Target {
    Target::Group(Fingerprint::of_group(&UpstreamGroup { system: SOURCE.into(), id: group }))
}

/// Keeps what is known in a step's details, and nothing where nothing is. It is redacted and cut later, with the step.
fn detail(step: &mut Step, name: &str, value: Option<impl AsRef<str>>) {
    if let Some(value) = value.filter(|value| !value.as_ref().is_empty()) {
        step.details.insert(name.to_owned(), value.as_ref().into());
    }
}

/// Notes what is known, and nothing where nothing is.
fn keep(report: &mut Report, name: &str, value: &str) {
    if !value.is_empty() {
        report.context.insert(name.to_owned(), json!(value));
    }
}

/// The key of a delivery whose kind has an id of its own; without one, the content itself tells.
fn delivery_key(kind: &str, id: Option<&str>, content: &Value) -> DeliveryKey {
    let text = match id {
        Some(id) => format!("{kind}/{id}"),
        None => format!("{kind}//{content}"),
    };
    DeliveryKey::derived(SOURCE, text.as_bytes())
}

/// The key of a delivery that only its body tells from others.
fn body_key(delivery: &Delivery) -> DeliveryKey {
    let mut content = b"body/".to_vec();
    content.extend_from_slice(delivery.raw());
    DeliveryKey::derived(SOURCE, &content)
}

/// An instant as Sentry writes it. Its clock, or a client's, may be wrong: nothing is newer than now.
fn instant(value: &Value, name: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let told = DateTime::parse_from_rfc3339(text(value, name)?).ok()?;
    Some(told.with_timezone(&Utc).clamp(DateTime::UNIX_EPOCH, now))
}

/// The project's slug in the address of an event: `…/projects/ORGANISATION/PROJECT/events/…`.
fn project_slug(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut segments = url.path_segments()?.skip_while(|segment| *segment != "projects").skip(2);
    segments.next().filter(|slug| !slug.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;

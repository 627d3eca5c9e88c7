//! `issue.*`: changes of an issue in Sentry. Contains no environment, release or stack trace; the events that do are
//! delivered separately, before or after, and are what is counted.
//!
//! Deliveries do not contain the time of the change. `lastSeen`, the time of the issue's last event, only grows: a step
//! with an older one than the newest received is superseded and changes nothing. The same holds if the issue's status
//! contradicts the action (Sentry sends a late delivery with the issue's current status).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::model::{Counting, DeliveryKey, Report, UpstreamGroup};
use shared::store::lifecycle::Step;

use super::{Change, Meaning, SOURCE, apply_level, delivery_key, detail, instant, keep, step};
use crate::payload::{Delivery, id, text};

/// The change of the issue.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let issue = delivery.data("issue");
    if !issue.is_object() {
        return Meaning::Ignored("the delivery contains no issue");
    }
    let action = if delivery.action() == "archived" { "ignored" } else { delivery.action() };
    if action == "created" {
        let created = report(issue, created_key(issue), now);
        return created.map_or(Meaning::Ignored("feedback of a user is no error"), |report| {
            Meaning::Report(Box::new(report), None)
        });
    }
    let mut step = step(delivery, step_key(issue, action), id(issue, "id"), now);
    for (name, key) in [("substatus", "substatus"), ("shortId", "short_id"), ("permalink", "sentry_url")] {
        detail(&mut step, key, text(issue, name));
    }
    if action == "assigned" {
        note_assignee(&mut step, issue);
        return Meaning::Step(Change::Note, Box::new(step));
    }
    step.as_of = instant(issue, "lastSeen", now);
    if let Some(status) = contradicting_status(issue, action) {
        step.as_of = None;
        step.description = format!("Sentry: issue {action}, but it was {status} again when this was sent");
        return Meaning::Step(Change::Note, Box::new(step));
    }
    match action {
        "resolved" => Meaning::Step(Change::Resolve, Box::new(step)),
        "ignored" => Meaning::Step(Change::Acknowledge, Box::new(step)),
        _ => {
            // The report has the step's delivery key, so that both together count once.
            let report = report(issue, step.delivery_key.clone(), now).map(Box::new);
            step.keep_unknown = report.is_none();
            Meaning::Return(Box::new(step), report)
        }
    }
}

fn created_key(issue: &Value) -> DeliveryKey {
    delivery_key("issue-created", id(issue, "id").as_deref(), issue)
}

/// Identifies a step of its issue. Manual changes may alternate without a new event; then the details of the status, or
/// the assignee, distinguish the steps if possible.
fn step_key(issue: &Value, action: &str) -> DeliveryKey {
    let Some(issue_id) = id(issue, "id") else { return delivery_key("issue-step", None, &json!([action, issue])) };
    let field = |name: &str| issue.get(name).unwrap_or(&Value::Null);
    let assignee = field("assignedTo");
    let state = ["status", "substatus", "statusDetails", "lastSeen", "count"].map(field);
    let content = json!([issue_id, action, state, [assignee.get("type"), assignee.get("id")]]);
    delivery_key("issue-step", None, &content)
}

/// The issue's status, if it contradicts the action.
fn contradicting_status<'a>(issue: &'a Value, action: &str) -> Option<&'a str> {
    let status = text(issue, "status").filter(|status| ["resolved", "unresolved", "ignored"].contains(status))?;
    (status != action).then_some(status)
}

/// Adds the assignee: a team's or person's name. An email address is not stored.
fn note_assignee(step: &mut Step, issue: &Value) {
    let assignee = issue.get("assignedTo").unwrap_or(&Value::Null);
    let kind = text(assignee, "type").filter(|kind| ["user", "team"].contains(kind));
    let name = text(assignee, "name").filter(|name| !name.contains('@'));
    detail(step, "assignee_type", kind);
    detail(step, "assignee", name);
    step.description = match (kind, step.details.get("assignee").and_then(Value::as_str)) {
        (Some(kind), Some(name)) => format!("Sentry: issue assigned to the {kind} {name}"),
        (Some(kind), None) => format!("Sentry: issue assigned to a {kind}"),
        (None, _) if assignee.is_null() => "Sentry: issue unassigned".to_owned(),
        (None, _) => "Sentry: issue assigned".to_owned(),
    };
}

/// The report of an issue: an announcement, since its events are reported separately. None for feedback.
fn report(issue: &Value, key: DeliveryKey, now: DateTime<Utc>) -> Option<Report> {
    if text(issue, "issueCategory") == Some("feedback") {
        return None;
    }
    let null = &Value::Null;
    let (metadata, project) = (issue.get("metadata").unwrap_or(null), issue.get("project").unwrap_or(null));
    let title = text(issue, "title").or_else(|| text(metadata, "title"));
    let message = title.or_else(|| text(metadata, "value")).unwrap_or("an issue without a title").to_owned();
    let issue_id = id(issue, "id");
    let mut report = Report::new(key, SOURCE, message, now);
    report.error_type = text(metadata, "type").map(str::to_owned);
    report.application = text(project, "slug").or_else(|| text(project, "name")).unwrap_or_default().to_owned();
    report.counting = Counting::Announcement;
    for (name, key) in [("shortId", "sentry_short_id"), ("culprit", "culprit"), ("platform", "platform")] {
        keep(&mut report, key, text(issue, name).unwrap_or_default());
    }
    keep(&mut report, "sentry_issue_id", issue_id.as_deref().unwrap_or_default());
    let link = text(issue, "web_url").or_else(|| text(issue, "permalink"));
    keep(&mut report, "sentry_url", link.unwrap_or_default());
    report.upstream_group = issue_id.map(|id| UpstreamGroup { system: SOURCE.into(), id });
    apply_level(&mut report, text(issue, "level").unwrap_or("error"));
    Some(report)
}

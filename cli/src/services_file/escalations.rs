//! Parses one `[[escalations]]` entry with its `[[escalations.steps]]`: the receivers while nothing is acknowledged.

use shared::model::{EscalationPolicy, EscalationStep, Receiver};

use super::fields::{Fields, Value, get, refuse_unknown, wrong};
use super::problems::Read;
use super::routing::{judge_policy, name, receivers};
use super::times::seconds;

/// The policy.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> EscalationPolicy {
    refuse_unknown(fields.own(), &["name", "steps"], fields.problems);
    let name = name(fields);
    if !fields.has("steps") {
        fields.problems.note(fields.start, "there is no step: [[escalations.steps]] begins one");
    }
    EscalationPolicy { name, steps: steps(fields) }
}

fn steps(fields: &mut Fields<'_, '_>) -> Vec<EscalationStep> {
    let Some(value) = fields.find("steps") else { return Vec::new() };
    let Some(entries) = value.get_ref().as_array() else {
        fields.problems.note(value.span().start, "steps must be tables: [[escalations.steps]]");
        return Vec::new();
    };
    let mut steps: Vec<EscalationStep> = Vec::new();
    for entry in entries.iter() {
        let start = entry.span().start;
        let Some(own) = entry.get_ref().as_table() else {
            fields.problems.note(start, "steps must be tables: [[escalations.steps]]");
            continue;
        };
        refuse_unknown(own, &["after", "channels"], fields.problems);
        for key in ["after", "channels"] {
            if get(own, key).is_none() {
                fields.problems.note(start, format_args!("{key} is missing"));
            }
        }
        let mut step = Fields::new(own, Vec::new(), start, &mut *fields.problems);
        let last = steps.last().map(|step| step.after_seconds);
        let after_seconds = step.read("after", |value| after(value, last));
        let channels = step.read("channels", channels).unwrap_or_default();
        steps.push(EscalationStep { after_seconds: after_seconds.or(last).unwrap_or_default(), channels });
    }
    let policy = EscalationPolicy { name: String::new(), steps: steps.clone() };
    if fields.problems.is_none() && judge_policy(value, "steps", policy).is_err() {
        // Each step is valid, so there are none or too many.
        fields.problems.note(fields.start, "an escalation has 1 to 20 steps");
    }
    steps
}

fn after(value: &Value<'_>, last: Option<u32>) -> Read<u32> {
    let after_seconds = seconds(value)?;
    if last.is_some_and(|last| after_seconds <= last) {
        return wrong(value, "each step comes after the one before it");
    }
    let receiver = Receiver::default_of(shared::model::Channel::Slack);
    let step = EscalationStep { after_seconds, channels: vec![receiver] };
    judge_policy(value, "after", EscalationPolicy { name: String::new(), steps: vec![step] }).map(|()| after_seconds)
}

fn channels(value: &Value<'_>) -> Read<Vec<Receiver>> {
    match receivers(value)? {
        channels if channels.is_empty() => wrong(value, "must name at least one"),
        channels => Ok(channels),
    }
}

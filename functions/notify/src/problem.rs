//! A subject as it is now, as a member of a group: what routes match, what a notification says of it, whether it is muted. Pure.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::model::Subject;
use shared::store::StoreError;
use shared::store::notifications::members::Member;
use shared::store::notifications::subjects::Present;

use crate::muting::mute;
use crate::notification::{Problem, ProblemState};
use crate::rules::Rules;

/// What a notification says of a member.
pub(crate) fn read(problem: Value) -> Result<Problem, StoreError> {
    serde_json::from_value(problem).map_err(StoreError::internal)
}

pub(crate) fn problem(subject: &Subject, present: &Present, public_url: Option<&str>) -> Problem {
    let (incident_id, alert_id) = match subject {
        Subject::Incident(id) => (Some(id.as_str().to_owned()), None),
        Subject::Alert(id) => (None, Some(*id)),
    };
    let state = ProblemState::from(present.status);
    let url = public_url.zip(incident_id.as_deref());
    let labels = present.labels.clone();
    Problem {
        state,
        title: present.title.clone(),
        severity: labels.severity,
        category: labels.category,
        application: labels.application,
        environment: labels.environment,
        service: labels.service,
        message: present.message.clone(),
        since: present.since,
        resolved_at: present.resolved_at.filter(|_| state == ProblemState::Resolved),
        occurrences: present.occurrences,
        users: present.users,
        handled_by: present.handled_by.clone(),
        tried: present.tried.clone(),
        url: url.map(|(base, id)| format!("{}/api/incidents/{id}", base.trim_end_matches('/'))),
        incident_id,
        alert_id,
    }
}

/// The member of a group that a subject is now; what people know of it stays.
pub(crate) fn member(
    rules: &Rules,
    subject: &Subject,
    present: &Present,
    known: Option<&Member>,
    now: DateTime<Utc>,
) -> Result<Member, StoreError> {
    let problem = problem(subject, present, rules.public_url.as_deref());
    let state = problem.state;
    let notified = known.and_then(|member| member.notified);
    let is_reopened = known.is_some_and(|member| member.renewed || present.fired_at > member.fired_at);
    let mut member = Member {
        subject: subject.clone(),
        state,
        notified,
        muted_by: known.and_then(|member| member.muted_by.clone()),
        labels: Some(present.labels.clone()),
        problem: serde_json::to_value(problem).map_err(StoreError::internal)?,
        fired_at: present.fired_at,
        // The assignee may be gone. People still have to be notified of its end, if it ends again.
        renewed: is_reopened && notified == Some(ProblemState::Acknowledged) && state == ProblemState::Firing,
    };
    member.muted_by = mute(&member, &present.labels, &present.parents, &rules.silences, now);
    Ok(member)
}

//! A subject as it stands now, as a member of a group: what routes pick it by, what a message says of it, whether it is muted.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::model::{IncidentStatus, Labels, Subject};
use shared::store::StoreError;
use shared::store::notifications::groups::Member;
use shared::store::notifications::subjects::Present;

use crate::muting::{Mute, Standing, mute};
use crate::notification::{Problem, ProblemState};
use crate::rules::Rules;

/// What is kept of a problem in its group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) labels: Labels,
    pub(crate) problem: Problem,
}

impl Details {
    pub(crate) fn read(value: Value) -> Result<Self, StoreError> {
        serde_json::from_value(value).map_err(StoreError::internal)
    }
}

pub(crate) fn labels(present: &Present) -> Labels {
    Labels {
        severity: present.severity,
        category: present.category,
        application: present.application.clone(),
        environment: present.environment.clone(),
        service: present.service.clone(),
        tags: present.tags.clone(),
    }
}

pub(crate) fn state(status: IncidentStatus) -> ProblemState {
    match status {
        IncidentStatus::Detected => ProblemState::Firing,
        IncidentStatus::Acknowledged => ProblemState::Acknowledged,
        IncidentStatus::Resolved => ProblemState::Resolved,
    }
}

/// The words of `notification_members`.
pub(crate) fn word(state: ProblemState) -> &'static str {
    match state {
        ProblemState::Firing => "firing",
        ProblemState::Acknowledged => "acknowledged",
        ProblemState::Resolved => "resolved",
    }
}

fn parse(word: &str) -> Option<ProblemState> {
    [ProblemState::Firing, ProblemState::Acknowledged, ProblemState::Resolved]
        .into_iter()
        .find(|it| self::word(*it) == word)
}

/// Whether people think that it is not over.
pub(crate) fn is_known(member: &Member) -> bool {
    matches!(member.told.as_deref(), Some("firing" | "acknowledged"))
}

pub(crate) fn problem(subject: &Subject, present: &Present, public_url: Option<&str>) -> Problem {
    let (incident_id, alert_id) = match subject {
        Subject::Incident(id) => (Some(id.as_str().to_owned()), None),
        Subject::Alert(id) => (None, Some(*id)),
    };
    let state = state(present.status);
    let url = public_url.zip(incident_id.as_deref());
    Problem {
        state,
        title: present.title.clone(),
        severity: present.severity,
        category: present.category,
        application: present.application.clone(),
        environment: present.environment.clone(),
        service: present.service.clone(),
        message: present.message.clone(),
        since: present.since,
        resolved_at: present.resolved_at.filter(|_| state == ProblemState::Resolved),
        occurrences: present.occurrences,
        users: present.users,
        handled_by: present.handled_by.clone(),
        tried: present.tried.clone(),
        incident_id: incident_id.clone(),
        alert_id,
        url: url.map(|(base, id)| format!("{}/api/incidents/{id}", base.trim_end_matches('/'))),
    }
}

/// The member of a group that a subject is now; what people know of it is as it was.
pub(crate) fn member(
    rules: &Rules,
    subject: &Subject,
    present: &Present,
    known: Option<&Member>,
    now: DateTime<Utc>,
) -> Result<Member, StoreError> {
    let labels = labels(present);
    let state = state(present.status);
    let told = known.and_then(|member| member.told.as_deref()).and_then(parse);
    let came_back = known.is_some_and(|member| present.fired_at > member.fired_at);
    // It ended and is back: whoever was on it may be gone. People still have to hear of its end, if it ends again.
    let was_renewed = came_back || known.is_some_and(|member| member.renewed);
    let renewed = was_renewed && told == Some(ProblemState::Acknowledged) && state == ProblemState::Firing;
    let before = known.and_then(|member| member.muted_by.as_deref()).and_then(Mute::parse);
    let standing = Standing {
        state,
        told,
        muted_by: before.as_ref(),
        labels: &labels,
        parents_down: &present.parents_down,
        parents_up: &present.parents_up,
    };
    let muted_by = mute(standing, &rules.silences, now);
    let details = Details { problem: problem(subject, present, rules.public_url.as_deref()), labels };
    Ok(Member {
        subject: subject.to_string(),
        state: word(state).to_owned(),
        told: told.map(|told| word(told).to_owned()),
        muted_by: muted_by.map(|mute| mute.to_string()),
        details: serde_json::to_value(details).map_err(StoreError::internal)?,
        fired_at: present.fired_at,
        renewed,
    })
}

//! A group under its lock: loads the snapshot that a decision needs, and writes the plan. All in one transaction.

use chrono::{DateTime, Utc};
use shared::model::{Subject, uuid_at};
use shared::store::notifications::groups::{self, Group, Progress};
use shared::store::notifications::members::{self, Counted, Named};
use shared::store::notifications::queue::{self, FirstProblem, NewNotification};
use shared::store::notifications::{ProblemState, escalation};
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::membership::GroupRef;
use crate::notification::{Notification, NotificationKind};
use crate::pagerduty_state;
use crate::plan::{About, Change, EscalationChange, Key, MemberChange, Plan, Planned, Snapshot};
use crate::problem;
use crate::routing::{Settings, dedup_key};

/// A group under its lock.
pub(crate) struct LockedGroup<'a> {
    pub(crate) transaction: &'a Transaction<'a>,
    pub(crate) key: &'a str,
    pub(crate) settings: Settings,
    pub(crate) progress: Progress,
}

impl<'a> LockedGroup<'a> {
    /// Takes the group's lock; none: it is deleted.
    pub(crate) async fn lock(
        transaction: &'a Transaction<'a>,
        group: &'a GroupRef,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, StoreError> {
        let key = group.key();
        let Some(Group { settings, progress }) = group.lock(transaction, now).await? else { return Ok(None) };
        let settings = serde_json::from_value(settings).map_err(StoreError::internal)?;
        Ok(Some(Self { transaction, key, settings, progress }))
    }

    /// What a decision needs; `counted` are the members but for the changed one.
    pub(crate) fn snapshot(&self, counted: Counted, change: Change) -> Snapshot<'_> {
        let Counted { counts, acknowledged_pages } = counted;
        Snapshot { progress: &self.progress, settings: &self.settings, counts, acknowledged_pages, change }
    }

    /// Counts the members.
    pub(crate) async fn count(&self, except: Option<&Subject>) -> Result<Counted, StoreError> {
        members::count(self.transaction, self.key, except).await
    }

    /// Writes a plan.
    pub(crate) async fn apply(&self, plan: Plan, event_id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
        match &plan.member {
            Some(MemberChange::Store(member)) => members::upsert(self.transaction, self.key, member, now).await?,
            Some(MemberChange::Delete(subject)) => members::delete(self.transaction, self.key, subject).await?,
            None => {}
        }
        // Read before those that are over are deleted.
        let ends = plan.escalation.contains(&EscalationChange::End);
        let handled_by = if ends { self.handled_by().await? } else { None };
        let mut unused = None;
        for planned in plan.notifications {
            let event_id = match planned.key {
                Key::Event => event_id,
                Key::New => uuid_at(now),
                Key::Unused => self.unused(event_id, &mut unused, now).await?,
                Key::Reopening => Uuid::new_v5(&self.unused(event_id, &mut unused, now).await?, b"anew"),
            };
            self.insert(planned, event_id, now).await?;
        }
        if let Some(mark) = plan.mark {
            members::mark_notified(self.transaction, self.key, mark).await?;
        }
        for change in &plan.escalation {
            match change {
                EscalationChange::Start { policy, restarts } => {
                    escalation::start(self.transaction, self.key, policy, *restarts, now).await?;
                }
                EscalationChange::RestartEnded(policy) => {
                    escalation::restart_ended(self.transaction, self.key, policy, now).await?;
                }
                EscalationChange::End => {
                    escalation::end(self.transaction, self.key, handled_by.as_deref(), now).await?;
                }
            }
        }
        groups::update(self.transaction, self.key, &plan.progress).await
    }

    /// The event, unless the group was notified of it already: then it is another change that is notified.
    async fn unused(&self, event_id: Uuid, unused: &mut Option<Uuid>, now: DateTime<Utc>) -> Result<Uuid, StoreError> {
        if let Some(unused) = unused {
            return Ok(*unused);
        }
        let ids = [event_id, pagerduty_state::event_id(event_id, self.key)];
        let is_used = groups::has_notified(self.transaction, self.key, &ids).await?;
        Ok(*unused.insert(if is_used { uuid_at(now) } else { event_id }))
    }

    /// Stores a notification for each of its receivers.
    pub(crate) async fn insert(&self, planned: Planned, event_id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
        let Planned { kind, about, is_part, remark, receivers, .. } = planned;
        let notification = match about {
            About::One(problem) => {
                let problems = vec![problem::read(problem)?];
                Notification { kind, at: now, problems, more: 0, group: None, is_part, remark }
            }
            About::Group(named) => Notification { is_part, remark, ..self.content(kind, named, now).await? },
            About::Pages(named) => {
                let mut notification = self.content(kind, named, now).await?;
                let is_over = kind == NotificationKind::Resolved;
                let state = if is_over { ProblemState::Resolved } else { ProblemState::Acknowledged };
                notification.problems.iter_mut().for_each(|problem| problem.state = state);
                notification
            }
        };
        let content = serde_json::to_value(&notification).map_err(StoreError::internal)?;
        let dedup_key = dedup_key(self.key);
        let (pages, others) = pagerduty_state::split(receivers);
        for (receivers, event_id) in [(others, event_id), (pages, pagerduty_state::event_id(event_id, self.key))] {
            let new = NewNotification {
                id: None,
                event_id,
                kind,
                group_key: self.key,
                dedup_key: &dedup_key,
                content: &content,
                first: first_problem(&notification),
            };
            if !receivers.is_empty() {
                queue::insert(self.transaction, &new, &receivers, now).await?;
            }
        }
        Ok(())
    }

    /// A notification that names these problems of the group.
    async fn content(
        &self,
        kind: NotificationKind,
        named: Named,
        now: DateTime<Utc>,
    ) -> Result<Notification, StoreError> {
        let (members, total) = members::list(self.transaction, self.key, named, Notification::PROBLEMS).await?;
        let problems = members.into_iter().map(|member| problem::read(member.problem));
        let mut problems = problems.collect::<Result<Vec<_>, _>>()?;
        problems.sort_by_key(|problem| (problem.state == ProblemState::Resolved, std::cmp::Reverse(problem.severity)));
        let more = usize::try_from(total).unwrap_or(0).saturating_sub(problems.len());
        let group = self.settings.label.clone();
        Ok(Notification { kind, at: now, problems, more, group, is_part: false, remark: None })
    }

    /// Who has acknowledged or resolved what people know of.
    async fn handled_by(&self) -> Result<Option<String>, StoreError> {
        let (members, _) = members::list(self.transaction, self.key, Named::Changed, 1).await?;
        let first = members.into_iter().next().map(|member| problem::read(member.problem)).transpose()?;
        Ok(first.and_then(|problem| problem.handled_by))
    }
}

/// What lists and digests show and sort by.
pub(crate) fn first_problem(notification: &Notification) -> Option<FirstProblem<'_>> {
    notification.problems.first().map(|problem| FirstProblem {
        state: problem.state,
        severity: problem.severity,
        title: &problem.title,
        incident_id: problem.incident_id.as_deref(),
    })
}

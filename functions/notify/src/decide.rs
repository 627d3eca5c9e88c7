//! What a group is notified of, and how it goes on: a snapshot of the group to a plan. Pure.

pub(crate) mod schedule;

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::{Receiver, Subject};
use shared::store::notifications::groups::Progress;
use shared::store::notifications::members::{Counts, Member, Named, Notified};

use self::schedule::{Clock, Next, Step};
use crate::notification::{NotificationKind, ProblemState};
use crate::pagerduty_state::{self, Action, Incident};
use crate::plan::{About, Change, EscalationChange, Key, MemberChange, Plan, Planned, Snapshot, Trigger, Update};
use crate::routing::{Settings, expanded};
use crate::rules::Rules;

/// What to write about a group; none = nothing, not even that it was created.
pub(crate) fn decide(snapshot: &Snapshot<'_>, rules: &Rules, now: DateTime<Utc>) -> Option<Plan> {
    let mut planner = Planner::new(snapshot, now);
    match &snapshot.change {
        Change::None => {}
        Change::Deleted(subject) => planner.delete(subject),
        Change::Updated(update) => {
            let added = planner.add_receivers(update, rules);
            if update.may_add_receivers() && added.is_none() && update.is_new && !update.informed.is_empty() {
                // A route that leads only to receivers that know of it.
                return None;
            }
            let member = added.unwrap_or_else(|| update.member.clone());
            planner.store(&member);
            if joins_waiting(&member, &planner.plan.progress, snapshot.settings, now) {
                return Some(planner.plan);
            }
        }
    }
    planner.notify_group();
    Some(planner.plan)
}

/// Whether a problem only joins others that wait already.
pub(crate) fn joins_waiting(member: &Member, progress: &Progress, settings: &Settings, now: DateTime<Utc>) -> bool {
    let is_new = member.state == ProblemState::Firing && !member.is_known() && member.muted_by.is_none();
    is_new && is_due_soon(progress, settings.group_interval_seconds, now)
}

/// Whether a group is evaluated as soon as its interval allows.
pub(crate) fn is_due_soon(progress: &Progress, interval_seconds: u32, now: DateTime<Utc>) -> bool {
    let interval = TimeDelta::seconds(interval_seconds.into());
    let last = progress.last_notified_at;
    progress.due_at.is_some_and(|due| due > now && last.is_none_or(|last| due <= last + interval))
}

/// The receivers that don't wake people.
fn non_paging(receivers: Vec<Receiver>) -> Vec<Receiver> {
    receivers.into_iter().filter(|receiver| !receiver.channel().traits().pages).collect()
}

struct Planner<'a> {
    snapshot: &'a Snapshot<'a>,
    settings: &'a Settings,
    counts: Counts,
    now: DateTime<Utc>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot<'a>, now: DateTime<Utc>) -> Self {
        let progress = snapshot.progress.clone();
        let plan = Plan { member: None, notifications: Vec::new(), mark: None, escalation: Vec::new(), progress };
        Self { snapshot, settings: snapshot.settings, counts: snapshot.counts, now, plan }
    }

    /// Where nothing is left that people know of, `PagerDuty` would never be notified of the end.
    fn delete(&mut self, subject: &Subject) {
        self.plan.member = Some(MemberChange::Delete(subject.clone()));
        if !self.counts.is_known() {
            self.close_pages(Named::Ended);
            self.plan.progress.receivers.clear();
        }
    }

    /// Stores a member; what is over and people don't know of is deleted.
    fn store(&mut self, member: &Member) {
        self.plan.member = Some(if member.is_settled() {
            MemberChange::Delete(member.subject.clone())
        } else {
            self.counts.add(member);
            MemberChange::Store(Box::new(member.clone()))
        });
    }

    /// Notifies receivers of a problem that don't know of it, at once instead of in the group's time; returns the member as
    /// people know it then, if there are any.
    fn add_receivers(&mut self, update: &Update, rules: &Rules) -> Option<Member> {
        if !update.may_add_receivers() {
            return None;
        }
        let receivers = added_receivers(update, self.settings, rules);
        if receivers.is_empty() || (is_news(update) && !matches!(update.trigger, Trigger::HealFailed { .. })) {
            // A problem that people don't know of is notified as any other.
            return None;
        }
        let mut member = update.member.clone();
        let remark = match &update.trigger {
            Trigger::Event => "It changed while it was muted.".to_owned(),
            Trigger::SeverityRaised => "It has become worse.".to_owned(),
            Trigger::HealFailed { remark } => remark.clone(),
        };
        self.notify_about(
            NotificationKind::Escalated,
            About::One(member.problem.clone()),
            receivers.clone(),
            Key::Event,
        );
        if let Some(planned) = self.plan.notifications.last_mut() {
            (planned.is_part, planned.remark) = (self.counts.total() > 0, Some(remark));
        }
        self.add_informed(&receivers);
        if !member.is_known() || member.renewed {
            (member.notified, member.renewed) = (Some(member.state), false);
        }
        // It counts as a repetition.
        let repeat = self.settings.repeat_interval_seconds.map(|seconds| TimeDelta::seconds(seconds.into()));
        let is_due = |last: DateTime<Utc>| repeat.is_some_and(|repeat| last + repeat <= self.now);
        if self.plan.progress.last_notified_at.is_none_or(is_due) {
            self.plan.progress.last_notified_at = Some(self.now);
        }
        if !matches!(update.trigger, Trigger::HealFailed { .. }) && member.state == ProblemState::Firing {
            self.start_escalation(false);
        }
        Some(member)
    }

    /// Notifies the group of its next step, if that is due, and ends or restarts its escalation.
    fn notify_group(&mut self) {
        let (counts, now) = (self.counts, self.now);
        if !counts.is_known() && self.plan.progress.due_at.is_none() {
            self.plan.progress.first_seen_at = now;
        }
        let Progress { first_seen_at, last_notified_at, .. } = self.plan.progress;
        let Next { step, due_at } =
            schedule::next(counts, Clock { first_seen_at, last_notified_at }, self.settings, now);
        if let Some(step) = step {
            self.take(step);
            // An acknowledgement does not delay what comes next.
            if step != Step::Acknowledged {
                self.plan.progress.last_notified_at = Some(now);
            }
        }
        if counts.active + counts.muted_known == 0 && counts.muted_ended > 0 {
            // All is over, but the end of some is notified with the end of a silence. `PagerDuty` would page until then.
            self.close_pages(Named::EndedMuted);
        }
        self.plan.progress.due_at = due_at;
        if let Some(policy) = &self.settings.escalation {
            if counts.unacknowledged + counts.muted_known == 0 {
                self.plan.escalation.push(EscalationChange::End);
            } else if counts.unacknowledged > counts.new {
                // What people know of is open again before its end was notified. A new problem starts it when it is notified.
                self.plan.escalation.push(EscalationChange::RestartEnded(policy.clone()));
            }
        }
    }

    fn take(&mut self, step: Step) {
        let counts = self.counts;
        let (kind, named) = match step {
            // It names those that are over, too: nothing else will.
            Step::Firing if counts.ended > 0 => (NotificationKind::Firing, Named::Changed),
            Step::Firing => (NotificationKind::Firing, Named::Active),
            Step::Update => (NotificationKind::Repeat, Named::Changed),
            Step::Repeat => (NotificationKind::Repeat, Named::Active),
            Step::Acknowledged => (NotificationKind::Acknowledged, Named::Taken),
            Step::Resolved => (NotificationKind::Resolved, Named::Ended),
        };
        let receivers = self.receivers(step);
        self.notify_about(kind, About::Group(named), receivers.clone(), Key::Unused);
        if let Some(planned) = self.plan.notifications.last_mut().filter(|_| !receivers.is_empty()) {
            let (total, muted) = (counts.total(), counts.muted_known + counts.muted_ended);
            planned.is_part = match step {
                Step::Acknowledged => total > counts.taken,
                Step::Update => muted > 0,
                Step::Firing | Step::Repeat | Step::Resolved => false,
            };
            let over = counts.ended + counts.muted_ended;
            planned.remark = (named == Named::Changed).then(|| format!("{over} of {total} are over"));
        }
        match step {
            Step::Firing => {
                self.add_informed(&receivers);
                if counts.unacknowledged > 0 {
                    self.start_escalation(!counts.is_known());
                }
            }
            Step::Resolved => self.plan.progress.receivers.clear(),
            Step::Update | Step::Repeat | Step::Acknowledged => {}
        }
        let all = if step == Step::Acknowledged { Notified::Acknowledgements } else { Notified::All };
        self.plan.mark = Some(all);
    }

    /// The receivers of a step. Plans the further updates that `PagerDuty` needs.
    fn receivers(&mut self, step: Step) -> Vec<Receiver> {
        let counts = self.counts;
        let known = self.plan.progress.receivers.clone();
        let (may_page, action, all) = match step {
            // An acknowledged problem wakes no one else.
            Step::Firing => (counts.unacknowledged > 0, Some(Action::Trigger), self.settings.receivers.clone()),
            Step::Update => (false, None, known.clone()),
            Step::Repeat => (true, Some(Action::Trigger), known.clone()),
            Step::Acknowledged => (counts.unacknowledged == 0, Some(Action::Acknowledge), known.clone()),
            Step::Resolved => (true, Some(Action::Resolve), known.clone()),
        };
        let (mut resolved, mut acknowledged) = (Vec::new(), Vec::new());
        let is_notified = |receiver: &Receiver| {
            let (pages, _) = pagerduty_state::split(vec![receiver.clone()]);
            if pages.is_empty() {
                return may_page || !receiver.channel().traits().pages;
            }
            let incident = Incident::of(receiver, &known, &self.snapshot.acknowledged_pages);
            let actions = pagerduty_state::actions(incident, step, counts);
            for other in actions.iter().filter(|it| Some(**it) != action) {
                match other {
                    Action::Resolve => resolved.push(receiver.clone()),
                    Action::Acknowledge => acknowledged.push(receiver.clone()),
                    Action::Trigger => {}
                }
            }
            action.is_some_and(|action| actions.contains(&action))
        };
        let receivers = all.into_iter().filter(is_notified).collect();
        let about = About::Pages(Named::Active);
        self.notify_about(NotificationKind::Resolved, about.clone(), resolved, Key::Reopening);
        self.notify_about(NotificationKind::Acknowledged, about, acknowledged, Key::Unused);
        receivers
    }

    /// Resolves the group's incidents at `PagerDuty`.
    fn close_pages(&mut self, named: Named) {
        let (pages, others) = pagerduty_state::split(std::mem::take(&mut self.plan.progress.receivers));
        self.notify_about(NotificationKind::Resolved, About::Pages(named), pages, Key::New);
        self.plan.progress.receivers = others;
    }

    fn notify_about(&mut self, kind: NotificationKind, about: About, receivers: Vec<Receiver>, key: Key) {
        if !receivers.is_empty() {
            let planned = Planned { kind, about, is_part: false, remark: None, receivers, key };
            self.plan.notifications.push(planned);
        }
    }

    fn add_informed(&mut self, receivers: &[Receiver]) {
        for receiver in receivers {
            if !self.plan.progress.receivers.contains(receiver) {
                self.plan.progress.receivers.push(receiver.clone());
            }
        }
    }

    fn start_escalation(&mut self, restarts: bool) {
        let policy = self.settings.escalation.clone();
        self.plan.escalation.extend(policy.map(|policy| EscalationChange::Start { policy, restarts }));
    }
}

/// The receivers that are added for a problem.
fn added_receivers(update: &Update, settings: &Settings, rules: &Rules) -> Vec<Receiver> {
    let receivers = match &update.trigger {
        Trigger::Event | Trigger::SeverityRaised => {
            let knows = |it: &Receiver| update.informed.iter().any(|informed| informed.receiver == *it);
            settings.receivers.iter().filter(|it| !knows(it)).cloned().collect()
        }
        Trigger::HealFailed { .. } => {
            let steps = settings.escalation.iter().flat_map(|policy| &policy.steps);
            let mut receivers: Vec<_> = steps.flat_map(|step| step.channels.clone()).collect();
            if receivers.is_empty() || !update.member.is_known() {
                receivers.extend(settings.receivers.clone());
            }
            expanded(&rules.configured, &receivers)
        }
    };
    // An acknowledged problem wakes no one else.
    if update.member.state == ProblemState::Acknowledged { non_paging(receivers) } else { receivers }
}

/// Whether no one knows of a problem as it is now. Where a mute has ended, another of its groups may have been notified a moment
/// ago: that makes it no old news here.
fn is_news(update: &Update) -> bool {
    let is_mute_over = update.trigger == Trigger::Event;
    let is_known_elsewhere = update.informed.iter().any(|it| it.is_earlier || !is_mute_over);
    (!update.member.is_known() && !is_known_elsewhere) || update.member.renewed
}

#[cfg(test)]
mod tests;

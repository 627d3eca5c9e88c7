//! Decisions as tables, and as properties of a group whose plans are written to memory.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::json;
use shared::model::{EscalationPolicy, EscalationStep};
use shared::store::notifications::informed::Informed;
use shared::store::notifications::mutes::Mute;
use uuid::Uuid;

use super::*;
use crate::notification::ProblemState::{Acknowledged, Firing, Resolved};

/// A member in this state, of which people know this.
pub(super) fn member(id: &str, state: ProblemState, notified: Option<ProblemState>) -> Member {
    Member {
        subject: Subject::parse(id).unwrap(),
        state,
        notified,
        muted_by: None,
        labels: None,
        problem: json!({"incident_id": id}),
        fired_at: DateTime::UNIX_EPOCH,
        renewed: false,
    }
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(1)
}

fn receivers(names: &[&str]) -> Vec<Receiver> {
    names.iter().map(|name| Receiver::parse(name).unwrap()).collect()
}

fn settings(names: &[&str]) -> Settings {
    Settings { receivers: receivers(names), ..Settings::default() }
}

fn with_policy(settings: Settings) -> Settings {
    let steps = vec![EscalationStep { after_seconds: 60, channels: receivers(&["slack:#senior"]) }];
    Settings { escalation: Some(EscalationPolicy { name: "on-call".to_owned(), steps }), ..settings }
}

fn progress(names: &[&str]) -> Progress {
    let last_notified_at = (!names.is_empty()).then_some(now() - TimeDelta::hours(1));
    Progress { first_seen_at: DateTime::UNIX_EPOCH, last_notified_at, due_at: None, receivers: receivers(names) }
}

fn counts(members: &[Member]) -> Counts {
    let mut counts = Counts::default();
    members.iter().for_each(|member| counts.add(member));
    counts
}

fn update(member: Member, trigger: Trigger) -> Update {
    Update { member, is_new: false, was_muted: false, trigger, informed: Vec::new() }
}

fn informed(names: &[&str]) -> Vec<Informed> {
    receivers(names).into_iter().map(|receiver| Informed { receiver, is_earlier: true }).collect()
}

/// The plan for a change in a group with these other members.
fn plan(progress: &Progress, settings: &Settings, others: &[Member], change: Change) -> Option<Plan> {
    let snapshot = Snapshot { progress, settings, counts: counts(others), acknowledged_pages: Vec::new(), change };
    decide(&snapshot, &Rules::default(), now())
}

fn updated(progress: &Progress, settings: &Settings, others: &[Member], update: Update) -> Option<Plan> {
    plan(progress, settings, others, Change::Updated(Box::new(update)))
}

/// `kind receiver,receiver` of each notification.
fn sent(plan: &Plan) -> Vec<String> {
    let names = |planned: &Planned| planned.receivers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    plan.notifications.iter().map(|planned| format!("{} {}", planned.kind.as_str(), names(planned))).collect()
}

#[test]
fn a_change_is_notified_to_the_receivers_that_it_concerns() {
    let all = &["slack", "sms", "pagerduty"];
    for (state, notified, known, wanted) in [
        (Firing, None, &[][..], &["firing slack,sms,pagerduty"][..]),
        (Acknowledged, None, &[], &["firing slack"]),
        (Resolved, None, &[], &[]),
        (Firing, Some(Firing), all, &[]),
        (Acknowledged, Some(Firing), all, &["acknowledged slack,sms,pagerduty"]),
        (Resolved, Some(Firing), all, &["resolved slack,sms,pagerduty"]),
        (Resolved, Some(Acknowledged), &["slack"], &["resolved slack"]),
    ] {
        let one = update(member("INC-1", state, notified), Trigger::Event);
        let plan = updated(&progress(known), &settings(all), &[], one).unwrap();
        assert_eq!(sent(&plan), wanted, "{state:?} {notified:?}");
    }
}

#[test]
fn a_raised_severity_adds_the_receivers_that_do_not_know() {
    let all = &["slack", "sms"];
    let known = member("INC-1", Firing, Some(Firing));
    for (member, informed, wanted) in [
        (known.clone(), informed(&["slack"]), &["escalated sms"][..]),
        (known.clone(), informed(all), &[]),
        // An acknowledged problem wakes no one else.
        (Member { state: Acknowledged, notified: Some(Acknowledged), ..known.clone() }, informed(&["slack"]), &[]),
        // A problem that people don't know of is notified as any other.
        (Member { notified: None, ..known.clone() }, Vec::new(), &["firing slack,sms"]),
        (
            Member { notified: Some(Acknowledged), renewed: true, ..known.clone() },
            informed(&["slack"]),
            &["firing slack,sms"],
        ),
        // What is over or muted adds none.
        (Member { muted_by: Some(Mute::Parent("db".to_owned())), ..known.clone() }, informed(&["slack"]), &[]),
    ] {
        let one = Update { informed, ..update(member.clone(), Trigger::SeverityRaised) };
        let plan = updated(&progress(&["slack"]), &settings(all), &[], one).unwrap();
        assert_eq!(sent(&plan), wanted, "{member:?}");
    }
}

#[test]
fn a_route_that_leads_only_to_receivers_that_know_creates_no_group() {
    let one = Update {
        is_new: true,
        informed: informed(&["slack"]),
        ..update(member("INC-1", Firing, None), Trigger::SeverityRaised)
    };
    assert_eq!(updated(&progress(&[]), &settings(&["slack"]), &[], one), None);
}

#[test]
fn the_end_of_a_mute_adds_receivers_unless_another_group_was_notified_just_now() {
    let informed = |is_earlier| vec![Informed { receiver: receivers(&["slack"]).remove(0), is_earlier }];
    for (is_earlier, wanted) in [(true, "escalated sms"), (false, "firing slack,sms")] {
        let one = Update {
            was_muted: true,
            informed: informed(is_earlier),
            ..update(member("INC-1", Firing, None), Trigger::Event)
        };
        let plan = updated(&progress(&[]), &settings(&["slack", "sms"]), &[], one).unwrap();
        assert_eq!(sent(&plan), [wanted]);
    }
}

#[test]
fn failed_healing_notifies_the_policy_and_without_one_the_group() {
    let failed = || Trigger::HealFailed { remark: "restart, attempt 4".to_owned() };
    let (plain, known) = (settings(&["slack"]), member("INC-1", Firing, Some(Firing)));
    let unknown = Member { notified: None, ..known.clone() };
    for (settings, member, wanted) in [
        (with_policy(plain.clone()), known.clone(), "escalated slack:#senior"),
        (with_policy(plain.clone()), unknown, "escalated slack:#senior,slack"),
        (plain, known, "escalated slack"),
    ] {
        let plan = updated(&progress(&["slack"]), &settings, &[], update(member, failed())).unwrap();
        assert_eq!(sent(&plan), [wanted]);
        assert_eq!(plan.notifications[0].remark.as_deref(), Some("restart, attempt 4"));
    }
}

#[test]
fn a_problem_that_joins_waiting_ones_is_only_stored() {
    let waiting = Progress { due_at: Some(now() + TimeDelta::seconds(9)), ..progress(&[]) };
    let one = update(member("INC-1", Firing, None), Trigger::Event);
    let settings = settings(&["slack"]);
    assert!(one.only_waits(&waiting, &settings, now()));
    let plan = updated(&waiting, &settings, &[], one.clone()).unwrap();
    assert_eq!((plan.notifications.len(), plan.progress), (0, waiting));
    assert_eq!(plan.member, Some(MemberChange::Store(Box::new(one.member))));
}

#[test]
fn what_is_deleted_is_resolved_at_pagerduty_when_nothing_is_left() {
    let known = progress(&["slack", "pagerduty"]);
    let other = member("INC-2", Firing, Some(Firing));
    let deleted = || Change::Deleted(Subject::parse("INC-1").unwrap());
    let settings = settings(&["slack", "pagerduty"]);
    assert_eq!(sent(&plan(&known, &settings, &[other], deleted()).unwrap()), [""; 0]);
    let last = plan(&known, &settings, &[], deleted()).unwrap();
    assert_eq!((sent(&last), last.progress.receivers), (vec!["resolved pagerduty".to_owned()], Vec::new()));
}

#[test]
fn pagerduty_is_reopened_for_what_joins_an_acknowledged_incident() {
    let others = [member("INC-1", Acknowledged, Some(Acknowledged))];
    let settings = settings(&["slack", "pagerduty"]);
    let change = Change::Updated(Box::new(update(member("INC-2", Firing, None), Trigger::Event)));
    let snapshot = Snapshot {
        progress: &progress(&["slack", "pagerduty"]),
        settings: &settings,
        counts: counts(&others),
        acknowledged_pages: receivers(&["pagerduty"]),
        change,
    };
    let plan = decide(&snapshot, &Rules::default(), now()).unwrap();
    assert_eq!(sent(&plan), ["resolved pagerduty", "firing slack,pagerduty"]);
    assert_eq!(plan.notifications[0].key, Key::Reopening);
}

#[test]
fn what_is_left_acknowledged_ends_the_page_and_names_what_is_over() {
    let others = [member("INC-1", Acknowledged, Some(Acknowledged))];
    let over = update(member("INC-2", Resolved, Some(Firing)), Trigger::Event);
    let settings = settings(&["slack", "pagerduty"]);
    let plan = updated(&progress(&["slack", "pagerduty"]), &settings, &others, over).unwrap();
    assert_eq!(sent(&plan), ["acknowledged pagerduty", "repeat slack"]);
    assert_eq!(plan.notifications[1].remark.as_deref(), Some("1 of 2 are over"));
}

#[test]
fn an_escalation_runs_while_something_is_unacknowledged() {
    let settings = with_policy(settings(&["slack"]));
    let policy = settings.escalation.clone().unwrap();
    let muted = Member { muted_by: Some(Mute::Silence(Uuid::nil())), ..member("INC-2", Firing, Some(Firing)) };
    for (state, notified, others, wanted) in [
        (Firing, None, vec![], vec![EscalationChange::Start { policy: policy.clone(), restarts: true }]),
        (Firing, Some(Firing), vec![], vec![EscalationChange::RestartEnded(policy)]),
        (Acknowledged, Some(Firing), vec![], vec![EscalationChange::End]),
        (Acknowledged, Some(Firing), vec![muted], vec![]),
    ] {
        let one = update(member("INC-1", state, notified), Trigger::Event);
        let plan = updated(&progress(&[]), &settings, &others, one).unwrap();
        assert_eq!(plan.escalation, wanted, "{state:?} {notified:?}");
    }
}

/// A group whose plans are written to memory, as `apply` writes them to the database.
struct Group {
    settings: Settings,
    progress: Progress,
    members: Vec<Member>,
    pages: Vec<&'static str>,
    /// Receivers that were notified of a problem and not of its end.
    open: Vec<Receiver>,
}

impl Group {
    fn change(&mut self, id: &str, state: ProblemState) -> Result<(), TestCaseError> {
        let known = self.members.iter().position(|member| member.subject == Subject::parse(id).unwrap());
        let Some(known) = known else {
            if state == Resolved {
                return Ok(());
            }
            return self.evaluate(Update { is_new: true, ..update(member(id, state, None), Trigger::Event) });
        };
        let before = self.members.remove(known);
        let renewed = before.notified == Some(Acknowledged) && state == Firing;
        self.evaluate(update(Member { state, renewed, ..before }, Trigger::Event))
    }

    fn evaluate(&mut self, update: Update) -> Result<(), TestCaseError> {
        let acknowledged = self.pages.last() == Some(&"acknowledged");
        let snapshot = Snapshot {
            progress: &self.progress,
            settings: &self.settings,
            counts: counts(&self.members),
            acknowledged_pages: if acknowledged { receivers(&["pagerduty"]) } else { Vec::new() },
            change: Change::Updated(Box::new(update)),
        };
        let plan = decide(&snapshot, &Rules::default(), now()).unwrap();
        if let Some(MemberChange::Store(member)) = plan.member {
            self.members.push(*member);
        }
        let is_unacknowledged = counts(&self.members).unacknowledged > 0;
        for planned in &plan.notifications {
            for receiver in &planned.receivers {
                let is_page = receiver.channel().traits().pages;
                let is_alarm = planned.kind.is_alarm();
                prop_assert!(!is_page || !is_alarm || is_unacknowledged, "no page for what is acknowledged");
                prop_assert!(is_alarm || self.open.contains(receiver), "no news of what {receiver} does not know");
                self.open.retain(|it| it != receiver);
                if planned.kind != NotificationKind::Resolved {
                    self.open.push(receiver.clone());
                }
                if *receiver == Receiver::parse("pagerduty").unwrap() {
                    self.pages.push(planned.kind.as_str());
                }
            }
        }
        self.progress = plan.progress;
        match plan.mark {
            Some(Notified::All) => {
                self.members.retain(Member::is_active);
                self.members.iter_mut().for_each(|it| (it.notified, it.renewed) = (Some(it.state), false));
            }
            Some(Notified::Acknowledgements) => {
                let taken = |it: &&mut Member| it.state == Acknowledged && it.notified == Some(Firing);
                self.members.iter_mut().filter(taken).for_each(|it| it.notified = Some(Acknowledged));
            }
            None => {}
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_receiver_of_a_beginning_is_notified_of_the_end(
        changes in prop::collection::vec(
            (prop::sample::select(vec!["INC-1", "INC-2", "INC-3"]), prop::sample::select(ProblemState::ALL.to_vec())),
            0..30,
        ),
    ) {
        let settings = settings(&["slack", "sms", "pagerduty"]);
        let mut group =
            Group { settings, progress: progress(&[]), members: Vec::new(), pages: Vec::new(), open: Vec::new() };
        for (id, state) in changes {
            group.change(id, state)?;
            let is_unacknowledged = counts(&group.members).unacknowledged > 0;
            let is_paging = matches!(group.pages.last(), Some(&("firing" | "repeat")));
            prop_assert_eq!(is_paging, is_unacknowledged, "PagerDuty pages while something is unacknowledged");
        }
        for id in ["INC-1", "INC-2", "INC-3"] {
            group.change(id, Resolved)?;
        }
        prop_assert_eq!((group.open, group.members.len(), group.progress.receivers), (Vec::new(), 0, Vec::new()));
    }
}

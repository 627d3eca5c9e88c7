//! The decision against Alertmanager's own, over sets; and the times.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::decide::tests::member;
use crate::notification::ProblemState as State;

type Member = (State, Option<State>);

fn counts(members: &[Member]) -> Counts {
    let mut counts = Counts::default();
    for (state, notified) in members {
        counts.add(&member("INC-1", *state, *notified));
    }
    counts
}

/// Alertmanager's log entry of the last notification.
struct Entry {
    firing: BTreeSet<usize>,
    resolved: BTreeSet<usize>,
    timestamp: DateTime<Utc>,
}

/// `DedupStage.needsUpdate` of Alertmanager's notify/notify.go, line by line; the receiver wants resolved ones.
fn needs_update(
    entry: Option<&Entry>,
    firing: &BTreeSet<usize>,
    resolved: &BTreeSet<usize>,
    repeat: TimeDelta,
    now: DateTime<Utc>,
) -> bool {
    // If we haven't notified about the alert group before, notify at once unless we only have resolved alerts.
    let Some(entry) = entry else { return !firing.is_empty() };
    if !firing.is_subset(&entry.firing) {
        return true;
    }
    // Notify about all alerts being resolved.
    if firing.is_empty() {
        return !entry.firing.is_empty();
    }
    if !resolved.is_subset(&entry.resolved) {
        return true;
    }
    // Nothing changed, only notify if the repeat interval has passed.
    entry.timestamp < now - repeat
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Firing), Just(State::Resolved)]
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

const NOTHING: Settings = Settings {
    receivers: Vec::new(),
    group_wait_seconds: 0,
    group_interval_seconds: 0,
    repeat_interval_seconds: None,
    escalation: None,
    label: None,
};

proptest! {
    #[test]
    fn a_group_is_notified_exactly_when_alertmanager_notifies(
        members in prop::collection::vec((state(), prop::option::of(state())), 0..12),
        repeat in 1..100_i64, age in 0..200_i64,
    ) {
        let now = at(1_000);
        let timestamp = now - TimeDelta::seconds(age);
        let with = |test: &dyn Fn(&Member) -> bool| -> BTreeSet<usize> {
            (0..members.len()).filter(|nth| test(&members[*nth])).collect()
        };
        let entry = members.iter().any(|(_, notified)| notified.is_some()).then(|| Entry {
            firing: with(&|(_, notified)| *notified == Some(State::Firing)),
            resolved: with(&|(_, notified)| *notified == Some(State::Resolved)),
            timestamp,
        });
        let firing = with(&|(state, _)| *state == State::Firing);
        // What people don't know of does not end for them.
        let resolved = with(&|(state, notified)| *state == State::Resolved && notified.is_some());
        let settings = Settings { repeat_interval_seconds: Some(u32::try_from(repeat).unwrap()), ..NOTHING };
        let clock = Clock { first_seen_at: timestamp, last_notified_at: entry.as_ref().map(|entry| entry.timestamp) };
        let decision = next(counts(&members), clock, &settings, now);
        // Alertmanager rounds a repetition up: at exactly the interval it waits for the next time.
        let repeat = TimeDelta::seconds(repeat) - TimeDelta::nanoseconds(1);
        let is_needed = needs_update(entry.as_ref(), &firing, &resolved, repeat, now);
        prop_assert_eq!(decision.step.is_some(), is_needed, "{:?}", decision);
    }

    #[test]
    fn an_end_is_notified_only_if_it_is_known_and_nothing_fires(
        members in prop::collection::vec(
            (
                prop_oneof![Just(State::Firing), Just(State::Acknowledged), Just(State::Resolved)],
                prop::option::of(prop_oneof![Just(State::Firing), Just(State::Acknowledged), Just(State::Resolved)]),
            ),
            0..12,
        ),
    ) {
        let clock = Clock { first_seen_at: at(0), last_notified_at: Some(at(0)) };
        let decision = next(counts(&members), clock, &NOTHING, at(10));
        let knows = |notified| matches!(notified, Some(State::Firing | State::Acknowledged));
        let fires = members.iter().any(|(state, _)| *state != State::Resolved);
        let ended = members.iter().any(|(state, notified)| *state == State::Resolved && knows(*notified));
        prop_assert_eq!(decision.step == Some(Step::Resolved), ended && !fires);
        prop_assert_eq!(decision.due_at.is_some_and(|at| at > DateTime::<Utc>::MIN_UTC), decision.due_at.is_some());
    }

    #[test]
    fn a_step_is_taken_once(
        active in 0..4_i64, new in 0..4_i64, ended in 0..4_i64, taken in 0..4_i64, wait in 0..50_u32, interval in 0..50_u32,
    ) {
        let counts = Counts { active: active + new, unacknowledged: 0, new, known: active + ended, ended, taken: taken.min(active), ..Counts::default() };
        let settings = Settings { group_wait_seconds: wait, group_interval_seconds: interval, ..NOTHING };
        let mut now = at(0);
        let (mut counts, mut clock) = (counts, Clock { first_seen_at: now, last_notified_at: None });
        for _ in 0..4 {
            let decision = next(counts, clock, &settings, now);
            if let Some(step) = decision.step {
                (counts, clock) = after(step, counts, clock, now);
            }
            let Some(due_at) = decision.due_at else { break };
            now = now.max(due_at);
        }
        prop_assert_eq!(next(counts, clock, &settings, now), Next { step: None, due_at: None });
    }
}

#[test]
fn the_first_waits_for_others_and_those_that_join_for_the_interval() {
    let settings = Settings { group_wait_seconds: 30, group_interval_seconds: 300, ..NOTHING };
    let first = Counts { active: 1, unacknowledged: 1, new: 1, ..Counts::default() };
    let clock = Clock { first_seen_at: at(0), last_notified_at: None };
    assert_eq!(next(first, clock, &settings, at(29)), Next { step: None, due_at: Some(at(30)) });
    assert_eq!(next(first, clock, &settings, at(30)), Next { step: Some(Step::Firing), due_at: None });
    let joined = Counts { active: 2, unacknowledged: 2, new: 1, known: 1, ..Counts::default() };
    let clock = Clock { last_notified_at: Some(at(30)), ..clock };
    assert_eq!(next(joined, clock, &settings, at(31)), Next { step: None, due_at: Some(at(330)) });
    assert_eq!(next(joined, clock, &settings, at(330)).step, Some(Step::Firing));
    // One of two is over: that waits too. All are: it does not.
    let one = Counts { active: 1, unacknowledged: 1, known: 2, ended: 1, ..Counts::default() };
    assert_eq!(next(one, clock, &settings, at(31)), Next { step: None, due_at: Some(at(330)) });
    assert_eq!(next(one, clock, &settings, at(330)).step, Some(Step::Update));
    let all = Counts { known: 2, ended: 2, ..Counts::default() };
    assert_eq!(next(all, clock, &settings, at(31)), Next { step: Some(Step::Resolved), due_at: None });
    // An acknowledgement while another problem waits: that is notified at once, the other in its time.
    let taken = Counts { active: 2, unacknowledged: 1, new: 1, known: 1, taken: 1, ..Counts::default() };
    assert_eq!(next(taken, clock, &settings, at(31)), Next { step: Some(Step::Acknowledged), due_at: Some(at(330)) });
}

#[test]
fn it_is_repeated_until_it_is_acknowledged() {
    let settings = Settings { repeat_interval_seconds: Some(60), ..NOTHING };
    let clock = Clock { first_seen_at: at(0), last_notified_at: Some(at(0)) };
    let known = Counts { active: 1, unacknowledged: 1, known: 1, ..Counts::default() };
    assert_eq!(next(known, clock, &settings, at(59)), Next { step: None, due_at: Some(at(60)) });
    assert_eq!(next(known, clock, &settings, at(75)), Next { step: Some(Step::Repeat), due_at: Some(at(135)) });
    let slow = Settings { group_interval_seconds: 90, ..settings.clone() };
    assert_eq!(next(known, clock, &slow, at(75)), Next { step: None, due_at: Some(at(90)) });
    let taken = Counts { unacknowledged: 0, ..known };
    assert_eq!(next(taken, clock, &settings, at(75)), Next { step: None, due_at: None });
}

#[test]
fn what_is_muted_keeps_its_group_from_ending() {
    let clock = Clock { first_seen_at: at(0), last_notified_at: Some(at(0)) };
    let counts = Counts { known: 1, ended: 1, muted_known: 1, ..Counts::default() };
    assert_eq!(next(counts, clock, &NOTHING, at(1)).step, Some(Step::Update));
    // Also where that is over, too: its end is notified with the end of the mute.
    let counts = Counts { muted_known: 0, muted_ended: 1, ..counts };
    assert_eq!(next(counts, clock, &NOTHING, at(1)).step, Some(Step::Update));
    let counts = Counts { ended: 0, known: 0, ..counts };
    assert_eq!(next(counts, clock, &NOTHING, at(1)), Next { step: None, due_at: None });
}

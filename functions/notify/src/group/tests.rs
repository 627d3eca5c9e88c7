//! The decision against Alertmanager's own, over sets; and the times.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Firing,
    Acknowledged,
    Resolved,
}

type Member = (State, Option<State>);

fn counts(members: &[Member]) -> Counts {
    let count = |test: &dyn Fn(State, Option<State>) -> bool| {
        i64::try_from(members.iter().filter(|(state, told)| test(*state, *told)).count()).unwrap()
    };
    let is_active = |state| state != State::Resolved;
    let knows = |told: Option<State>| told.is_some_and(is_active);
    Counts {
        active: count(&|state, _| is_active(state)),
        unacknowledged: count(&|state, _| state == State::Firing),
        new: count(&|state, told| is_active(state) && !knows(told)),
        known: count(&|_, told| knows(told)),
        ended: count(&|state, told| !is_active(state) && knows(told)),
        taken: count(&|state, told| state == State::Acknowledged && told == Some(State::Firing)),
        ..Counts::default()
    }
}

/// Alertmanager's log entry of what was told last.
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
    // If we haven't notified about the alert group before, notify right away unless we only have resolved alerts.
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
    fn people_are_told_exactly_when_alertmanager_tells_them(
        members in prop::collection::vec((state(), prop::option::of(state())), 0..12),
        repeat in 1..100_i64, age in 0..200_i64,
    ) {
        let now = at(1_000);
        let timestamp = now - TimeDelta::seconds(age);
        let with = |test: &dyn Fn(&Member) -> bool| -> BTreeSet<usize> {
            (0..members.len()).filter(|nth| test(&members[*nth])).collect()
        };
        let entry = members.iter().any(|(_, told)| told.is_some()).then(|| Entry {
            firing: with(&|(_, told)| *told == Some(State::Firing)),
            resolved: with(&|(_, told)| *told == Some(State::Resolved)),
            timestamp,
        });
        let firing = with(&|(state, _)| *state == State::Firing);
        // What nobody was told of does not end for anybody.
        let resolved = with(&|(state, told)| *state == State::Resolved && told.is_some());
        let settings = Settings { repeat_interval_seconds: Some(u32::try_from(repeat).unwrap()), ..NOTHING };
        let clock = Clock { first_seen_at: timestamp, last_told_at: entry.as_ref().map(|entry| entry.timestamp) };
        let decision = decide(counts(&members), clock, &settings, now);
        // Alertmanager rounds a repetition up: at exactly the interval it waits for the next time.
        let repeat = TimeDelta::seconds(repeat) - TimeDelta::nanoseconds(1);
        let is_needed = needs_update(entry.as_ref(), &firing, &resolved, repeat, now);
        prop_assert_eq!(decision.tell.is_some(), is_needed, "{:?}", decision);
    }

    #[test]
    fn an_end_is_told_only_to_those_who_know_and_when_nothing_fires(
        members in prop::collection::vec(
            (
                prop_oneof![Just(State::Firing), Just(State::Acknowledged), Just(State::Resolved)],
                prop::option::of(prop_oneof![Just(State::Firing), Just(State::Acknowledged), Just(State::Resolved)]),
            ),
            0..12,
        ),
    ) {
        let clock = Clock { first_seen_at: at(0), last_told_at: Some(at(0)) };
        let decision = decide(counts(&members), clock, &NOTHING, at(10));
        let knows = |told| matches!(told, Some(State::Firing | State::Acknowledged));
        let fires = members.iter().any(|(state, _)| *state != State::Resolved);
        let ended = members.iter().any(|(state, told)| *state == State::Resolved && knows(*told));
        prop_assert_eq!(decision.tell == Some(Tell::Resolved), ended && !fires);
        prop_assert_eq!(decision.next_at.is_some_and(|at| at > DateTime::<Utc>::MIN_UTC), decision.next_at.is_some());
    }

    #[test]
    fn what_is_told_is_not_told_again(
        active in 0..4_i64, new in 0..4_i64, ended in 0..4_i64, taken in 0..4_i64, wait in 0..50_u32, interval in 0..50_u32,
    ) {
        let counts = Counts { active: active + new, unacknowledged: 0, new, known: active + ended, ended, taken: taken.min(active), ..Counts::default() };
        let settings = Settings { group_wait_seconds: wait, group_interval_seconds: interval, ..NOTHING };
        let mut now = at(0);
        let (mut counts, mut clock) = (counts, Clock { first_seen_at: now, last_told_at: None });
        for _ in 0..4 {
            let decision = decide(counts, clock, &settings, now);
            if let Some(tell) = decision.tell {
                (counts, clock) = after(tell, counts, clock, now);
            }
            let Some(next_at) = decision.next_at else { break };
            now = now.max(next_at);
        }
        prop_assert_eq!(decide(counts, clock, &settings, now), Decision { tell: None, next_at: None });
    }
}

#[test]
fn the_first_waits_for_others_and_those_that_join_for_the_interval() {
    let settings = Settings { group_wait_seconds: 30, group_interval_seconds: 300, ..NOTHING };
    let first = Counts { active: 1, unacknowledged: 1, new: 1, ..Counts::default() };
    let clock = Clock { first_seen_at: at(0), last_told_at: None };
    assert_eq!(decide(first, clock, &settings, at(29)), Decision { tell: None, next_at: Some(at(30)) });
    assert_eq!(decide(first, clock, &settings, at(30)), Decision { tell: Some(Tell::Firing), next_at: None });
    let joined = Counts { active: 2, unacknowledged: 2, new: 1, known: 1, ..Counts::default() };
    let clock = Clock { last_told_at: Some(at(30)), ..clock };
    assert_eq!(decide(joined, clock, &settings, at(31)), Decision { tell: None, next_at: Some(at(330)) });
    assert_eq!(decide(joined, clock, &settings, at(330)).tell, Some(Tell::Firing));
    // One of two is over: that waits too. All are: it does not.
    let one = Counts { active: 1, unacknowledged: 1, known: 2, ended: 1, ..Counts::default() };
    assert_eq!(decide(one, clock, &settings, at(31)), Decision { tell: None, next_at: Some(at(330)) });
    assert_eq!(decide(one, clock, &settings, at(330)).tell, Some(Tell::Update));
    let all = Counts { known: 2, ended: 2, ..Counts::default() };
    assert_eq!(decide(all, clock, &settings, at(31)), Decision { tell: Some(Tell::Resolved), next_at: None });
    // Who acknowledges while another waits: that is told at once, the other in its time.
    let taken = Counts { active: 2, unacknowledged: 1, new: 1, known: 1, taken: 1, ..Counts::default() };
    assert_eq!(
        decide(taken, clock, &settings, at(31)),
        Decision { tell: Some(Tell::Acknowledged), next_at: Some(at(330)) }
    );
}

#[test]
fn it_is_repeated_until_somebody_reacts() {
    let settings = Settings { repeat_interval_seconds: Some(60), ..NOTHING };
    let clock = Clock { first_seen_at: at(0), last_told_at: Some(at(0)) };
    let known = Counts { active: 1, unacknowledged: 1, known: 1, ..Counts::default() };
    assert_eq!(decide(known, clock, &settings, at(59)), Decision { tell: None, next_at: Some(at(60)) });
    assert_eq!(decide(known, clock, &settings, at(75)), Decision { tell: Some(Tell::Repeat), next_at: Some(at(135)) });
    let slow = Settings { group_interval_seconds: 90, ..settings.clone() };
    assert_eq!(decide(known, clock, &slow, at(75)), Decision { tell: None, next_at: Some(at(90)) });
    let taken = Counts { unacknowledged: 0, ..known };
    assert_eq!(decide(taken, clock, &settings, at(75)), Decision { tell: None, next_at: None });
}

#[test]
fn what_is_muted_keeps_its_group_from_ending() {
    let clock = Clock { first_seen_at: at(0), last_told_at: Some(at(0)) };
    let counts = Counts { known: 1, ended: 1, muted_known: 1, ..Counts::default() };
    assert_eq!(decide(counts, clock, &NOTHING, at(1)).tell, Some(Tell::Update));
    // Also where that is over, too: its end is told with the mute's.
    let counts = Counts { muted_known: 0, muted_ended: 1, ..counts };
    assert_eq!(decide(counts, clock, &NOTHING, at(1)).tell, Some(Tell::Update));
    let counts = Counts { ended: 0, known: 0, ..counts };
    assert_eq!(decide(counts, clock, &NOTHING, at(1)), Decision { tell: None, next_at: None });
}

//! Invariants for random verdicts, suppressions and thresholds, checked against the whole history.

use proptest::prelude::*;

use super::tests::{minute, thresholds};
use super::*;

#[derive(Debug, Clone)]
struct Run {
    verdict: Verdict,
    maintenance: bool,
    parents: Parents,
}

impl Run {
    fn failed(&self) -> bool {
        self.verdict == Verdict::Failed
    }

    fn suppressed(&self) -> bool {
        self.maintenance || self.parents != Parents::Fine
    }
}

/// A run and its decision.
struct Past {
    run: Run,
    decision: Decision,
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![3 => Just(Verdict::Healthy), 1 => Just(Verdict::Degraded), 2 => Just(Verdict::Failed)]
}

/// Stretches of equal runs, so that thresholds are reached; single runs, so that it flaps.
fn history() -> impl Strategy<Value = Vec<Run>> {
    let parents = prop_oneof![
        8 => Just(Parents::Fine),
        1 => Just(Parents::Pending),
        1 => Just(Parents::Down("db".to_owned())),
    ];
    let stretch = (verdict(), prop::bool::weighted(0.15), parents, prop_oneof![1..=3_usize, 1..=14_usize]);
    let runs = |(verdict, maintenance, parents, length)| vec![Run { verdict, maintenance, parents }; length];
    prop::collection::vec(stretch.prop_map(runs), 1..40).prop_map(|stretches| stretches.concat())
}

fn policy() -> impl Strategy<Value = AlertPolicy> {
    (prop_oneof![1..=3_u32, 1..=20_u32], prop_oneof![1..=3_u32, 1..=20_u32])
        .prop_map(|(failure, recovery)| thresholds(failure, recovery))
}

fn simulate(policy: &AlertPolicy, history: Vec<Run>) -> Vec<Past> {
    let mut standing = Standing::NEW;
    let step = |(index, run): (usize, Run)| {
        let around = Around { at: minute(index), maintenance: run.maintenance, parents: run.parents.clone() };
        let decision = decide(&standing, policy, run.verdict, &around);
        assert_eq!(decision, decide(&standing, policy, run.verdict, &around), "the same twice");
        standing = decision.after.clone();
        Past { run, decision }
    };
    history.into_iter().enumerate().map(step).collect()
}

/// How many of the last runs, in a row, are so.
fn in_a_row(past: &[Past], is: impl Fn(&Run) -> bool) -> usize {
    past.iter().rev().take_while(|past| is(&past.run)).count()
}

fn before(past: &[Past], at: usize) -> Standing {
    at.checked_sub(1).map_or(Standing::NEW, |index| past[index].decision.after.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn at_most_one_alert_of_a_kind_is_open(policy in policy(), history in history()) {
        let (mut down, mut degraded) = (false, false);
        for Past { decision, .. } in simulate(&policy, history) {
            match decision.outage {
                Outage::None => prop_assert!(!down),
                Outage::Opens => prop_assert!(!std::mem::replace(&mut down, true)),
                Outage::Lasts => prop_assert!(down),
                Outage::Ends => prop_assert!(std::mem::replace(&mut down, false)),
            }
            match decision.degraded_alert {
                DegradedAlert::None => prop_assert!(!degraded),
                DegradedAlert::Begins => prop_assert!(!std::mem::replace(&mut degraded, true)),
                DegradedAlert::Lasts => prop_assert!(degraded),
                DegradedAlert::Ends => prop_assert!(std::mem::replace(&mut degraded, false)),
            }
            prop_assert_eq!(decision.after.down_alerted_at.is_some(), down);
            prop_assert_eq!(decision.after.degraded_alerted_at.is_some(), degraded);
            // An open alert matches the state.
            prop_assert!(!down || decision.after.state == ServiceState::Down);
            prop_assert!(!degraded || matches!(decision.after.state, ServiceState::Degraded | ServiceState::Down));
        }
    }

    #[test]
    fn blips_and_suppressed_failures_open_nothing(policy in policy(), history in history()) {
        let past = simulate(&policy, history);
        for at in 0..past.len() {
            let (Past { run, decision }, so_far) = (&past[at], &past[..=at]);
            if decision.outage == Outage::Opens {
                prop_assert!(!run.suppressed());
                prop_assert!(in_a_row(so_far, Run::failed) >= policy.failure_threshold as usize);
            }
            if decision.degraded_alert == DegradedAlert::Begins {
                prop_assert!(!run.suppressed());
                let needed = policy.failure_threshold.max(2) as usize;
                prop_assert!(in_a_row(so_far, |run| run.verdict == Verdict::Degraded) >= needed);
            }
            prop_assert_eq!(decision.suppressed_by.is_some(), run.suppressed());
        }
    }

    #[test]
    fn a_lasting_failure_always_opens_an_alert(policy in policy(), history in history()) {
        let past = simulate(&policy, history);
        for at in 0..past.len() {
            let (Past { run, decision }, so_far) = (&past[at], &past[..=at]);
            if in_a_row(so_far, Run::failed) >= policy.failure_threshold as usize {
                prop_assert_eq!(decision.after.state, ServiceState::Down);
                prop_assert!(run.suppressed() || matches!(decision.outage, Outage::Opens | Outage::Lasts));
            }
            let degraded = in_a_row(so_far, |run| run.verdict == Verdict::Degraded);
            if degraded >= policy.failure_threshold.max(2) as usize && decision.after.state != ServiceState::Down {
                prop_assert_eq!(decision.after.state, ServiceState::Degraded);
                prop_assert!(run.suppressed() || matches!(decision.degraded_alert, DegradedAlert::Begins | DegradedAlert::Lasts));
            }
        }
    }

    #[test]
    fn an_outage_ends_after_the_recovery_and_not_before(policy in policy(), history in history()) {
        let past = simulate(&policy, history);
        for at in 0..past.len() {
            let (decision, so_far) = (&past[at].decision, &past[..=at]);
            let good = in_a_row(so_far, |run| !run.failed());
            if before(&past, at).state == ServiceState::Down && decision.after.state != ServiceState::Down {
                prop_assert!(good >= policy.recovery_threshold as usize);
                prop_assert!(!before(&past, at).flapping || good >= 10);
            }
            // The outage ends at the threshold.
            if good >= policy.recovery_threshold as usize && !decision.after.flapping {
                prop_assert!(decision.after.state != ServiceState::Down);
            }
            if decision.degraded_alert == DegradedAlert::Ends {
                prop_assert_eq!(past[at].run.verdict, Verdict::Healthy);
            }
        }
    }

    #[test]
    fn failing_since_is_the_first_failed_run(policy in policy(), history in history()) {
        let past = simulate(&policy, history);
        let mut began = None;
        for at in 0..past.len() {
            let (decision, was) = (&past[at].decision, before(&past, at));
            if decision.after.state == ServiceState::Down && was.state != ServiceState::Down {
                let first = at + 1 - in_a_row(&past[..=at], Run::failed);
                began = Some(minute(first));
            }
            if decision.after.state == ServiceState::Down {
                prop_assert_eq!(decision.after.failing_since, began);
            } else {
                let failed = in_a_row(&past[..=at], Run::failed);
                prop_assert_eq!(decision.after.failing_since, (failed > 0).then(|| minute(at + 1 - failed)));
            }
            if decision.outage == Outage::Opens {
                prop_assert!(decision.after.failing_since.unwrap() <= decision.after.down_alerted_at.unwrap());
                prop_assert_eq!(decision.after.down_alerted_at, Some(minute(at)));
            }
        }
    }

    #[test]
    fn the_counters_match_the_history(policy in policy(), history in history()) {
        let past = simulate(&policy, history);
        let mut changed_at = None;
        for at in 0..past.len() {
            let (Decision { after, changed, .. }, so_far) = (&past[at].decision, &past[..=at]);
            prop_assert_eq!(after.consecutive_failures as usize, in_a_row(so_far, Run::failed));
            prop_assert_eq!(after.consecutive_successes as usize, in_a_row(so_far, |run| !run.failed()));
            let degraded = in_a_row(so_far, |run| run.verdict == Verdict::Degraded);
            prop_assert_eq!(after.consecutive_degraded as usize, degraded);
            prop_assert_eq!(*changed, before(&past, at).state != after.state);
            if *changed {
                changed_at = Some(minute(at));
            }
            prop_assert_eq!(after.state_changed_at, changed_at);
            prop_assert_eq!(after.revision, 0);
            prop_assert!(after.state != ServiceState::Unknown || in_a_row(so_far, Run::failed) == at + 1);
        }
    }

    #[test]
    fn enough_healthy_runs_end_all_alerts(policy in policy(), mut history in history(), suppressed in any::<bool>()) {
        let healthy = Run { verdict: Verdict::Healthy, maintenance: suppressed, parents: Parents::Fine };
        history.extend(vec![healthy; policy.recovery_threshold.max(10) as usize]);
        let past = simulate(&policy, history);
        let after = &past.last().unwrap().decision.after;
        prop_assert_eq!(after.state, ServiceState::Healthy);
        prop_assert!(!after.flapping);
        prop_assert_eq!((after.down_alerted_at, after.degraded_alerted_at, after.failing_since), (None, None, None));
    }

    #[test]
    fn endless_flapping_opens_few_outages(
        policy in policy(),
        mut period in prop::collection::vec(verdict(), 0..8),
        at in any::<prop::sample::Index>(),
    ) {
        period.push(Verdict::Healthy);
        period.insert(at.index(period.len()), Verdict::Failed);
        let run = |verdict: &Verdict| Run { verdict: *verdict, maintenance: false, parents: Parents::Fine };
        let past = simulate(&policy, period.iter().cycle().take(300).map(run).collect());
        // Flapping is detected after four changes; each new outage takes two of them, beginning with the first run.
        let opened = past.iter().filter(|past| past.decision.outage == Outage::Opens).count();
        prop_assert!(opened <= 3, "{opened} outages");
        prop_assert!(past.last().unwrap().decision.after.flapping);
    }

    #[test]
    fn flapping_begins_with_a_change_and_ends_after_ten_equal_runs(policy in policy(), history in history()) {
        let past = simulate(&policy, history);
        for at in 0..past.len() {
            let (Past { run, decision }, was) = (&past[at], before(&past, at));
            let calm = in_a_row(&past[..=at], |other| other.failed() == run.failed());
            match (was.flapping, decision.after.flapping) {
                (false, true) => prop_assert!(!run.suppressed() && calm < 10),
                (true, false) => prop_assert_eq!(calm, 10),
                (true, true) => prop_assert!(calm < 10),
                (false, false) => {}
            }
        }
    }
}

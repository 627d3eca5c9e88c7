//! Combines the verdicts of several regions by a quorum. Pure.
//!
//! Each region has its last vote and the one before it, our own region included. Invariants:
//!
//! - A slot is decided at most once, and never before an earlier decided slot.
//! - It is failed if and only if a quorum of its votes is.
//! - It is anything else as soon as a quorum can't be reached any more, or a vote of a later slot exists: a region that
//!   has not voted by then did not see it fail. But at least one region must have seen it answer: failed votes short of
//!   the quorum decide nothing, and are never a recovery.
//! - With one region, its vote decides.

use shared::model::Verdict;
use shared::store::probing::{Vote, Votes};

/// The slot that is decided by the votes, by its start, and its verdict; none = undecided. `this_slot` is that of our
/// vote, `period` the time from slot to slot (0 = an unscheduled check), both in seconds; `regions` counts the regions
/// that check the service, ours included; the default `quorum` is a majority; `decided` is the slot that was decided
/// last.
///
/// The slot before ours is evaluated first: if both can be decided, ours is decided with the next vote.
#[must_use]
pub fn tally(
    votes: &Votes,
    this_slot: i64,
    period: i64,
    regions: u32,
    quorum: Option<u32>,
    decided: Option<i64>,
) -> Option<(i64, Verdict)> {
    let slot_before = (period > 0).then(|| this_slot.saturating_sub(period));
    slot_before
        .into_iter()
        .chain([this_slot])
        .filter(|slot| decided.is_none_or(|decided| *slot > decided))
        .find_map(|slot| Some((slot, verdict_of(votes, slot, regions, quorum)?)))
}

fn verdict_of(votes: &Votes, slot: i64, regions: u32, quorum: Option<u32>) -> Option<Verdict> {
    let count = |verdict| votes.values().flat_map(Vote::slots).filter(|vote| *vote == (slot, verdict)).count();
    let [healthy, degraded, failed] = [Verdict::Healthy, Verdict::Degraded, Verdict::Failed].map(count);
    let cast = healthy + degraded + failed;
    let regions = usize::try_from(regions).unwrap_or(usize::MAX).max(cast).max(1);
    // A quorum above the number of regions would never be reached.
    let needed = quorum.and_then(|quorum| usize::try_from(quorum).ok()).unwrap_or(regions / 2 + 1).clamp(1, regions);
    if failed >= needed {
        return Some(Verdict::Failed);
    }
    let over = votes.values().any(|vote| vote.slot > slot);
    let may_fail = failed + (regions - cast) >= needed;
    if may_fail && !over {
        return None;
    }
    match (healthy, degraded) {
        (0, 0) => None,
        _ if degraded > healthy => Some(Verdict::Degraded),
        _ => Some(Verdict::Healthy),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    const PERIOD: i64 = 60;

    fn vote(slot: i64, verdict: Verdict) -> Vote {
        Vote { slot, at: DateTime::UNIX_EPOCH, verdict, before: None }
    }

    /// `a=F:60` is region a's vote of slot 60.
    fn votes(text: &str) -> Votes {
        let one = |text: &str| {
            let (region, rest) = text.split_once('=').unwrap();
            let (verdict, slot) = rest.split_once(':').unwrap();
            let verdict = match verdict {
                "H" => Verdict::Healthy,
                "D" => Verdict::Degraded,
                _ => Verdict::Failed,
            };
            (region.to_owned(), vote(slot.parse().unwrap(), verdict))
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn votes_are_counted() {
        use Verdict::{Degraded, Failed, Healthy};
        for (text, this_slot, regions, quorum, decided, expected) in [
            // One region.
            ("a=H:60", 60, 1, None, None, Some((60, Healthy))),
            ("a=F:60", 60, 1, None, Some(0), Some((60, Failed))),
            ("a=D:60", 60, 1, Some(3), None, Some((60, Degraded))),
            ("a=F:60", 60, 1, None, Some(60), None),
            ("a=F:60", 60, 1, None, Some(120), None),
            // Regions whose last vote is old are not counted.
            ("a=F:600 b=H:60", 600, 1, None, Some(540), Some((600, Failed))),
            // Two: both must agree that it fails.
            ("a=F:60 b=F:0", 60, 2, None, None, None),
            ("a=F:60 b=F:60", 60, 2, None, None, Some((60, Failed))),
            ("a=F:60 b=H:60", 60, 2, None, None, Some((60, Healthy))),
            ("a=H:60 b=F:0", 60, 2, None, None, Some((60, Healthy))),
            ("a=F:60 b=D:60", 60, 2, None, None, Some((60, Degraded))),
            ("a=H:60 b=D:60", 60, 2, None, None, Some((60, Healthy))),
            // Or one of them is enough.
            ("a=F:60", 60, 2, Some(1), None, Some((60, Failed))),
            ("a=H:60", 60, 2, Some(1), None, None),
            // Three: two agree.
            ("a=F:60 b=F:60", 60, 3, None, None, Some((60, Failed))),
            ("a=H:60 b=F:60", 60, 3, None, None, None),
            ("a=H:60 b=H:60", 60, 3, None, None, Some((60, Healthy))),
            ("a=F:60 b=F:60", 60, 3, Some(3), None, None),
            ("a=F:60 b=F:60 c=F:60", 60, 3, Some(9), None, Some((60, Failed))),
            // The next slot has begun: the one before is decided by the votes so far.
            ("a=H:60 b=F:60 c=H:120", 120, 3, None, None, Some((60, Healthy))),
            ("a=D:60 b=F:60 c=H:120", 120, 3, None, Some(0), Some((60, Degraded))),
            ("a=H:60 b=F:60 c=H:120", 120, 3, None, Some(60), None),
            // Our vote is late.
            ("a=H:60 b=F:120", 60, 3, None, None, Some((60, Healthy))),
            ("a=H:60 b=F:120", 60, 3, None, Some(120), None),
            // No region has seen it answer: undecided.
            ("a=F:60 b=F:120", 120, 2, None, None, None),
            ("a=F:120 b=H:0", 120, 2, None, None, None),
            // A quorum of one decides a slot later, but never skips a passed slot.
            ("a=F:120 b=H:60", 120, 2, Some(1), None, Some((60, Healthy))),
            ("a=F:120 b=H:60", 120, 2, Some(1), Some(60), Some((120, Failed))),
        ] {
            let decision = tally(&votes(text), this_slot, PERIOD, regions, quorum, decided);
            assert_eq!(decision, expected, "{text} of {regions}, quorum {quorum:?}, decided {decided:?}");
        }
    }

    #[test]
    fn an_unscheduled_check_decides_its_own_instant() {
        assert_eq!(tally(&votes("a=H:77 b=F:60"), 77, 0, 2, None, Some(60)), Some((77, Verdict::Healthy)));
        assert_eq!(tally(&votes("a=F:77 b=F:60"), 77, 0, 2, None, Some(60)), None);
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![2 => Just(Verdict::Healthy), 1 => Just(Verdict::Degraded), 3 => Just(Verdict::Failed)]
    }

    /// For each slot and region, how late its vote is (in tenths of a slot) and its verdict; some don't vote.
    fn ballots(late: i64) -> impl Strategy<Value = Vec<Vec<Option<(i64, Verdict)>>>> {
        (1..5_usize).prop_flat_map(move |regions| {
            let ballot = prop::option::weighted(0.9, (0..late, verdict()));
            prop::collection::vec(prop::collection::vec(ballot, regions), 1..25)
        })
    }

    /// The slot of a vote, all votes then, and the decision.
    type Counted = (i64, Votes, Option<(i64, Verdict)>);

    /// Counts each vote in the order of arrival.
    fn tallied(ballots: &[Vec<Option<(i64, Verdict)>>], quorum: Option<u32>) -> Vec<Counted> {
        let regions = u32::try_from(ballots[0].len()).unwrap();
        let mut order = Vec::new();
        for (slot, ballot) in (0..).zip(ballots) {
            for (region, vote) in ballot.iter().enumerate() {
                order.extend(vote.map(|(late, verdict)| (slot * 10 + late, region, slot * PERIOD, verdict)));
            }
        }
        order.sort_unstable();
        let (mut votes, mut decided) = (Votes::new(), None);
        let mut history = Vec::new();
        for (_, region, slot, verdict) in order {
            let region = format!("region-{region}");
            // A region's slots only increase.
            if votes.get(&region).is_some_and(|vote: &Vote| vote.slot > slot) {
                continue;
            }
            votes.insert(region, vote(slot, verdict));
            let decision = tally(&votes, slot, PERIOD, regions, quorum, decided);
            decided = decision.map(|(slot, _)| slot).or(decided);
            history.push((slot, votes.clone(), decision));
        }
        history
    }

    fn needed(regions: usize, quorum: Option<u32>) -> usize {
        quorum.map_or(regions / 2 + 1, |quorum| quorum as usize).clamp(1, regions)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_slot_is_decided_once_and_by_a_quorum(
            ballots in ballots(25), quorum in prop::option::of(1..6_u32),
        ) {
            let needed = needed(ballots[0].len(), quorum);
            let mut last = None;
            for (slot, votes, decision) in tallied(&ballots, quorum) {
                let Some((of, verdict)) = decision else { continue };
                prop_assert!(of == slot || of == slot - PERIOD);
                prop_assert!(last < Some(of), "{last:?} and then {of}");
                last = Some(of);
                let count = |verdict| votes.values().filter(|vote| vote.slot == of && vote.verdict == verdict).count();
                if verdict == Verdict::Failed {
                    prop_assert!(count(Verdict::Failed) >= needed);
                } else {
                    prop_assert!(count(Verdict::Failed) < needed && count(verdict) > 0);
                    let missing = ballots[0].len() - votes.values().filter(|vote| vote.slot == of).count();
                    let over = votes.values().any(|vote| vote.slot > of);
                    prop_assert!(over || count(Verdict::Failed) + missing < needed, "too early");
                }
            }
        }

        #[test]
        fn timely_votes_decide_each_slot(ballots in ballots(10), quorum in prop::option::of(1..6_u32)) {
            let (regions, needed) = (ballots[0].len(), needed(ballots[0].len(), quorum));
            let decided: BTreeMap<i64, Verdict> =
                tallied(&ballots, quorum).into_iter().filter_map(|(_, _, decision)| decision).collect();
            for (slot, ballot) in (0..).zip(&ballots) {
                let cast: Vec<Verdict> = ballot.iter().flatten().map(|(_, verdict)| *verdict).collect();
                let failed = cast.iter().filter(|verdict| **verdict == Verdict::Failed).count();
                let decision = decided.get(&(slot * PERIOD)).copied();
                prop_assert!(decision != Some(Verdict::Failed) || failed >= needed);
                // With a quorum of one, a vote may first decide the slot before; ours waits for the next vote.
                if needed > 1 || ballots.iter().all(|ballot| ballot.iter().all(Option::is_some)) {
                    prop_assert!(decision == Some(Verdict::Failed) || failed < needed);
                }
                if cast.len() == regions && decision != Some(Verdict::Failed) {
                    prop_assert!(decision.is_some(), "all have voted, but nothing is decided");
                }
            }
        }

        #[test]
        fn one_region_decides_alone(verdict in verdict(), quorum in prop::option::of(0..9_u32), slot in 0..99_i64) {
            let votes = Votes::from([("a".to_owned(), vote(slot, verdict))]);
            prop_assert_eq!(tally(&votes, slot, PERIOD, 1, quorum, None), Some((slot, verdict)));
            prop_assert_eq!(tally(&votes, slot, PERIOD, 0, quorum, Some(slot - 1)), Some((slot, verdict)));
            prop_assert_eq!(tally(&votes, slot, PERIOD, 1, quorum, Some(slot)), None);
        }
    }
}

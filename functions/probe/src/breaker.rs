//! The circuit breaker of an external service: exponential back-off while it fails. Pure.
//!
//! - closed: the service is checked at each slot. Three failed runs in a row open the breaker.
//! - open: one check is let through at `retry_at`. If it fails, the back-off doubles, up to 15 minutes.
//! - half open: that check passed; the service is checked at each slot again. A second passed run in a row closes the
//!   breaker, a failed one opens it again with a longer back-off.
//!
//! A closed breaker without failures is not stored. A failed unscheduled check of an open breaker changes nothing: it
//! does not lengthen the back-off.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::BreakerState::{Closed, HalfOpen, Open};
use shared::model::Verdict;
use shared::store::probing::Breaker;

/// As many failed runs in a row open it.
const FAILURES: i32 = 3;

/// The longest back-off, in seconds.
const MAX_BACKOFF: i32 = 15 * 60;

/// The breaker after a run; none = closed without failures. `interval` is the service's.
#[must_use]
pub fn next(breaker: Option<&Breaker>, verdict: Verdict, interval: Duration, now: DateTime<Utc>) -> Option<Breaker> {
    let failed = verdict == Verdict::Failed;
    let failures = breaker.map_or(0, |breaker| breaker.failures).saturating_add(1);
    match (breaker, breaker.map_or(Closed, |breaker| breaker.state)) {
        (Some(open), Open) if failed && open.retry_at.is_some_and(|retry_at| now < retry_at) => Some(open.clone()),
        (Some(open), Open | HalfOpen) if failed => {
            let backoff = open.backoff_seconds.max(first_backoff(interval) / 2).saturating_mul(2).min(MAX_BACKOFF);
            Some(opened(failures, backoff, open.opened_at.unwrap_or(now), now))
        }
        (Some(open), Open) => Some(Breaker { state: HalfOpen, retry_at: None, ..open.clone() }),
        (_, HalfOpen) => None,
        _ if !failed => None,
        _ if failures >= FAILURES => Some(opened(failures, first_backoff(interval), now, now)),
        _ => Some(Breaker { state: Closed, failures, backoff_seconds: 0, opened_at: None, retry_at: None }),
    }
}

fn opened(failures: i32, backoff_seconds: i32, opened_at: DateTime<Utc>, now: DateTime<Utc>) -> Breaker {
    Breaker {
        state: Open,
        failures,
        backoff_seconds,
        opened_at: Some(opened_at),
        retry_at: now.checked_add_signed(TimeDelta::seconds(backoff_seconds.into())),
    }
}

/// Twice the interval, in whole seconds.
fn first_backoff(interval: Duration) -> i32 {
    i32::try_from(interval.as_secs().saturating_mul(2)).unwrap_or(MAX_BACKOFF).clamp(1, MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// Simulates checks at slots of this interval, skipping those that the breaker does not let through: `(when, state,
    /// back-off)`.
    fn story(history: &[Verdict], interval: Duration) -> Vec<(i64, String, i32)> {
        let seconds = i64::try_from(interval.as_secs()).unwrap();
        let (mut breaker, mut slot) = (None::<Breaker>, 0);
        let mut story = Vec::new();
        for verdict in history {
            let retry_at = breaker.as_ref().and_then(|breaker| breaker.retry_at);
            while retry_at.is_some_and(|retry_at| at(slot) < retry_at) {
                slot += seconds;
            }
            breaker = next(breaker.as_ref(), *verdict, interval, at(slot));
            let state = breaker.as_ref().map_or("none", |breaker| breaker.state.as_str()).to_owned();
            story.push((slot, state, breaker.as_ref().map_or(0, |breaker| breaker.backoff_seconds)));
            slot += seconds;
        }
        story
    }

    fn states(history: &str) -> Vec<String> {
        let verdict = |run| match run {
            'F' => Verdict::Failed,
            'D' => Verdict::Degraded,
            _ => Verdict::Healthy,
        };
        let history: Vec<Verdict> = history.chars().map(verdict).collect();
        story(&history, MINUTE).into_iter().map(|(_, state, _)| state).collect()
    }

    #[test]
    fn it_opens_after_three_and_closes_after_two() {
        for (history, expected) in [
            ("H", &["none"][..]),
            ("FFH", &["closed", "closed", "none"]),
            ("FFHF", &["closed", "closed", "none", "closed"]),
            ("FFFF", &["closed", "closed", "open", "open"]),
            ("FFFHH", &["closed", "closed", "open", "half_open", "none"]),
            ("FFFDD", &["closed", "closed", "open", "half_open", "none"]),
            ("FFFHFHH", &["closed", "closed", "open", "half_open", "open", "half_open", "none"]),
        ] {
            assert_eq!(states(history), expected, "{history}");
        }
    }

    #[test]
    fn the_back_off_doubles_up_to_a_quarter_of_an_hour() {
        let failed = [Verdict::Failed; 9];
        let pauses = |interval: u64| -> Vec<i32> {
            story(&failed, Duration::from_secs(interval)).into_iter().map(|(_, _, pause)| pause).collect()
        };
        assert_eq!(pauses(60), [0, 0, 120, 240, 480, 900, 900, 900, 900]);
        assert_eq!(pauses(30), [0, 0, 60, 120, 240, 480, 900, 900, 900]);
        // An interval of a day is longer than the longest back-off.
        assert_eq!(pauses(86_400), [0, 0, 900, 900, 900, 900, 900, 900, 900]);
        let asked: Vec<i64> = story(&failed, MINUTE).into_iter().map(|(when, ..)| when).collect();
        assert_eq!(asked, [0, 60, 120, 240, 480, 960, 1_860, 2_760, 3_660]);
    }

    #[test]
    fn failing_again_when_half_open_makes_the_pause_longer() {
        let half_open =
            Breaker { state: HalfOpen, failures: 4, backoff_seconds: 240, opened_at: Some(at(7)), retry_at: None };
        let again = next(Some(&half_open), Verdict::Failed, MINUTE, at(1_000)).unwrap();
        let expected = Breaker {
            state: Open,
            failures: 5,
            backoff_seconds: 480,
            opened_at: Some(at(7)),
            retry_at: Some(at(1_480)),
        };
        assert_eq!(again, expected);
    }

    #[test]
    fn a_check_out_of_turn_neither_lengthens_the_pause_nor_is_lost() {
        let open =
            Breaker { state: Open, failures: 3, backoff_seconds: 120, opened_at: Some(at(0)), retry_at: Some(at(120)) };
        assert_eq!(next(Some(&open), Verdict::Failed, MINUTE, at(60)), Some(open.clone()));
        assert_eq!(next(Some(&open), Verdict::Healthy, MINUTE, at(60)).unwrap().state, HalfOpen);
        assert_eq!(next(Some(&open), Verdict::Failed, MINUTE, at(120)).unwrap().backoff_seconds, 240);
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![2 => Just(Verdict::Healthy), 1 => Just(Verdict::Degraded), 5 => Just(Verdict::Failed)]
    }

    proptest! {
        #[test]
        fn an_open_breaker_backs_off_and_a_closed_one_lets_each_slot_through(
            history in prop::collection::vec(verdict(), 1..60), interval in 30..2_000_u64,
        ) {
            let story = story(&history, Duration::from_secs(interval));
            let interval = i64::try_from(interval).unwrap();
            for (index, (when, state, pause)) in story.iter().enumerate() {
                let failed = |back: usize| index >= back && history[index - back] == Verdict::Failed;
                if failed(0) && failed(1) && failed(2) {
                    prop_assert_eq!(state, Open.as_str());
                }
                if index >= 1 && !failed(0) && !failed(1) {
                    prop_assert_eq!(state, "none");
                }
                if state == Open.as_str() {
                    let first = i32::try_from(2 * interval).unwrap().min(MAX_BACKOFF);
                    prop_assert!((first..=MAX_BACKOFF).contains(pause));
                }
                if let Some((then, ..)) = story.get(index + 1) {
                    let waited = then - when;
                    let expected = if state == Open.as_str() { i64::from(*pause).max(interval) } else { interval };
                    prop_assert!(waited >= expected && waited < expected + interval, "{waited} after {state}");
                }
            }
        }
    }
}

//! When a message that was not taken is sent again, and how long its receiver is left alone. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::channel::SendError;

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(5);
/// A channel that says when to come again is asked no sooner, and, where it has too much to do, hardly later: however often.
const TOO_MANY: Duration = Duration::from_secs(60);
/// No pause is longer, whatever the channel wishes.
pub(crate) const LONGEST: Duration = Duration::from_secs(15 * 60);
/// A message that was not taken in this time is given up.
pub(crate) const GIVEN_UP_AFTER: TimeDelta = TimeDelta::days(3);
/// So many answers of 5xx in a row are no longer this message's fault.
const SICK_AFTER: i32 = 3;

/// What follows from a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Consequence {
    /// When the message is sent again; none = never.
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    /// Until when the receiver is left alone.
    pub(crate) paused_until: Option<DateTime<Utc>>,
    /// Whether it is the receiver that fares badly.
    pub(crate) is_receivers: bool,
}

/// How often it was tried, and when all began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    /// Attempts to send this message, this one included.
    pub(crate) attempts: i32,
    /// Attempts in a row that this receiver has not taken, without this one.
    pub(crate) failures: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) now: DateTime<Utc>,
}

/// What follows from this refusal; `random` is between 0 and 1.
pub(crate) fn consequence(error: &SendError, tries: Tries, random: f64) -> Consequence {
    let Tries { attempts, failures, created_at, now } = tries;
    let (status, after) = match error {
        SendError::Refused { .. } | SendError::NotConfigured(_) => {
            return Consequence { next_attempt_at: None, paused_until: None, is_receivers: false };
        }
        SendError::Later { status, after, .. } => (*status, after.map(|after| after.min(LONGEST))),
    };
    let longest = if after.is_some() && status == Some(429) { TOO_MANY } else { LONGEST };
    let no_sooner = |attempts| pause(attempts, random).min(longest).max(after.unwrap_or_default());
    let (wait, alone) = (no_sooner(attempts), no_sooner(failures + 1));
    let is_sick = after.is_some() || status == Some(429) || status.is_none() || failures + 1 >= SICK_AFTER;
    let is_given_up = now >= created_at + GIVEN_UP_AFTER;
    Consequence {
        next_attempt_at: (!is_given_up).then(|| later(now, wait)),
        paused_until: is_sick.then(|| later(now, alone)),
        is_receivers: true,
    }
}

/// The pause after so many attempts: doubling, between half and the whole of it, so that not all come back at once.
fn pause(attempts: i32, random: f64) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(16);
    let whole = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tries(attempts: i32, failures: i32, age: TimeDelta) -> Tries {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(100);
        Tries { attempts, failures, created_at: now - age, now }
    }

    fn refused(status: Option<u16>, after: Option<u64>) -> SendError {
        SendError::Later { what: "no".to_owned(), status, after: after.map(Duration::from_secs) }
    }

    proptest! {
        #[test]
        fn a_pause_grows_and_ends(attempts in 1..1_000_i32, random in 0.0..1.0_f64) {
            let some = pause(attempts, random);
            prop_assert!(some >= FIRST / 2 && some <= LONGEST);
            prop_assert!(pause(attempts + 1, random) >= some);
        }

        #[test]
        fn no_channel_is_left_alone_for_longer_than_a_quarter_of_an_hour(
            after in proptest::option::of(0..1_000_000_u64), status in proptest::option::of(429..600_u16),
            attempts in 1..100_i32, failures in 0..100_i32, random in 0.0..1.0_f64,
        ) {
            let tries = tries(attempts, failures, TimeDelta::zero());
            let found = consequence(&refused(status, after), tries, random);
            let most = tries.now + TimeDelta::minutes(15);
            prop_assert!(found.next_attempt_at.is_some_and(|at| at >= tries.now && at <= most));
            prop_assert!(found.paused_until.is_none_or(|at| at <= most));
        }
    }

    #[test]
    fn what_the_channel_wishes_holds_for_all_its_messages() {
        let tries = tries(1, 0, TimeDelta::zero());
        let found = consequence(&refused(Some(429), Some(30)), tries, 0.0);
        let wanted = Some(tries.now + TimeDelta::seconds(30));
        assert_eq!(found, Consequence { next_attempt_at: wanted, paused_until: wanted, is_receivers: true });
    }

    #[test]
    fn a_channel_that_is_ill_is_asked_less_and_less_often_whatever_it_wishes() {
        let wait = |status, after, attempts| {
            let tries = tries(attempts, attempts, TimeDelta::zero());
            consequence(&refused(Some(status), after), tries, 1.0).next_attempt_at.unwrap() - tries.now
        };
        for (status, after, attempts, seconds) in [
            (503, Some(0), 1, 5),
            (503, Some(30), 1, 30),
            (503, Some(30), 9, 900),
            (429, Some(0), 1, 5),
            (429, Some(0), 9, 60),
            (429, Some(120), 9, 120),
            (429, None, 9, 900),
        ] {
            assert_eq!(wait(status, after, attempts), TimeDelta::seconds(seconds), "{status} {after:?} {attempts}");
        }
    }

    #[test]
    fn a_dead_channel_is_left_alone_and_one_bad_answer_is_not() {
        let tries = |failures| tries(1, failures, TimeDelta::zero());
        assert!(consequence(&refused(None, None), tries(0), 0.0).paused_until.is_some());
        assert!(consequence(&refused(Some(503), None), tries(0), 0.0).paused_until.is_none());
        assert!(consequence(&refused(Some(503), None), tries(2), 0.0).paused_until.is_some());
    }

    #[test]
    fn it_ends_after_three_days_and_at_once_where_it_is_refused() {
        let error = refused(Some(503), None);
        assert!(
            consequence(&error, tries(9, 9, TimeDelta::days(3) - TimeDelta::seconds(1)), 0.0).next_attempt_at.is_some()
        );
        assert!(consequence(&error, tries(9, 9, TimeDelta::days(3)), 0.0).next_attempt_at.is_none());
        let refused = SendError::Refused { what: "no".to_owned(), status: Some(400) };
        let wanted = Consequence { next_attempt_at: None, paused_until: None, is_receivers: false };
        assert_eq!(consequence(&refused, tries(1, 0, TimeDelta::zero()), 0.0), wanted);
    }
}

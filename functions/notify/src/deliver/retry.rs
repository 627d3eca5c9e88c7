//! The back-off of a failed delivery: when it is retried, and how long its receiver is paused. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use shared::back_off::equal_jitter;
use shared::store::notifications::receivers::Health;

use crate::channel::SendError;

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(5);
/// A channel that answers 429 with `Retry-After` is tried no sooner, and hardly later: however often it refused.
const TOO_MANY: Duration = Duration::from_secs(60);
/// No wait is longer, whatever the channel asks for.
pub(crate) const LONGEST: Duration = Duration::from_secs(15 * 60);
/// A notification that was not delivered in this time has failed.
pub(crate) const GIVEN_UP_AFTER: TimeDelta = TimeDelta::days(3);
/// So many answers of 5xx in a row are no longer this notification's fault.
const PAUSED_AFTER: i32 = 3;

/// What follows from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Consequence {
    /// When the notification is sent again; none = never.
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    /// What it says about the receiver.
    pub(crate) health: Health,
}

/// The attempts so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    /// Attempts to send this notification, this one included.
    pub(crate) attempts: i32,
    /// Failed attempts of this receiver in a row, without this one.
    pub(crate) failures: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) now: DateTime<Utc>,
}

/// What follows from this error; `random` is between 0 and 1.
pub(crate) fn consequence(error: &SendError, tries: Tries, random: f64) -> Consequence {
    let Tries { attempts, failures, created_at, now } = tries;
    let (status, after) = match error {
        SendError::Refused { .. } | SendError::NotConfigured(_) => {
            return Consequence { next_attempt_at: None, health: Health::Unaffected };
        }
        SendError::Later { status, after, .. } => (*status, after.map(|after| after.min(LONGEST))),
    };
    let longest = if after.is_some() && status == Some(429) { TOO_MANY } else { LONGEST };
    let wait = |attempts: i32| {
        let doublings = u32::try_from(attempts - 1).unwrap_or(0);
        equal_jitter(FIRST, doublings, LONGEST, random).min(longest).max(after.unwrap_or_default())
    };
    let is_paused = after.is_some() || status == Some(429) || status.is_none() || failures + 1 >= PAUSED_AFTER;
    let is_given_up = now >= created_at + GIVEN_UP_AFTER;
    Consequence {
        next_attempt_at: (!is_given_up).then(|| later(now, wait(attempts))),
        health: if is_paused { Health::Paused { until: later(now, wait(failures + 1)) } } else { Health::Failing },
    }
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

    fn paused_until(consequence: &Consequence) -> Option<DateTime<Utc>> {
        match consequence.health {
            Health::Paused { until } => Some(until),
            Health::Unaffected | Health::Failing => None,
        }
    }

    proptest! {
        #[test]
        fn no_channel_is_paused_for_longer_than_a_quarter_of_an_hour(
            after in proptest::option::of(0..1_000_000_u64), status in proptest::option::of(429..600_u16),
            attempts in 1..100_i32, failures in 0..100_i32, random in 0.0..1.0_f64,
        ) {
            let tries = tries(attempts, failures, TimeDelta::zero());
            let found = consequence(&refused(status, after), tries, random);
            let most = tries.now + TimeDelta::minutes(15);
            prop_assert!(found.next_attempt_at.is_some_and(|at| at >= tries.now && at <= most));
            prop_assert!(paused_until(&found).is_none_or(|at| at <= most));
        }
    }

    #[test]
    fn retry_after_applies_to_all_notifications_of_the_receiver() {
        let tries = tries(1, 0, TimeDelta::zero());
        let found = consequence(&refused(Some(429), Some(30)), tries, 0.0);
        let until = tries.now + TimeDelta::seconds(30);
        assert_eq!(found, Consequence { next_attempt_at: Some(until), health: Health::Paused { until } });
    }

    #[test]
    fn a_failing_channel_is_tried_less_and_less_often_whatever_it_asks_for() {
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
    fn an_unreachable_channel_is_paused_and_one_error_pauses_none() {
        let found = |status, failures| {
            paused_until(&consequence(&refused(status, None), tries(1, failures, TimeDelta::zero()), 0.0))
        };
        assert!(found(None, 0).is_some());
        assert!(found(Some(503), 0).is_none());
        assert!(found(Some(503), 2).is_some());
    }

    #[test]
    fn it_ends_after_three_days_and_at_once_where_it_is_refused() {
        let error = refused(Some(503), None);
        assert!(
            consequence(&error, tries(9, 9, TimeDelta::days(3) - TimeDelta::seconds(1)), 0.0).next_attempt_at.is_some()
        );
        assert!(consequence(&error, tries(9, 9, TimeDelta::days(3)), 0.0).next_attempt_at.is_none());
        let refused = SendError::Refused { what: "no".to_owned(), status: Some(400) };
        let wanted = Consequence { next_attempt_at: None, health: Health::Unaffected };
        assert_eq!(consequence(&refused, tries(1, 0, TimeDelta::zero()), 0.0), wanted);
    }
}

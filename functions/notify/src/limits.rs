//! The rate limit of a receiver: a token bucket, and one digest of what exceeds it. Pure.
//!
//! A notification takes a token. Without one it is throttled, and after [`HOLD`] all that is throttled becomes one digest, which
//! may go into debt by one token: so a slow channel has a digest after half a minute, and the next one when its rate allows. An
//! escalation does not wait for a token: as many as the burst go into debt, and the digest of more of them one token deeper.

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::RateLimit;

/// How long notifications are throttled before they become a digest.
pub(crate) const HOLD: TimeDelta = TimeDelta::seconds(30);

/// How many notifications a receiver may get now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    /// As many; below zero is a debt.
    pub(crate) tokens: f64,
    /// As of then.
    pub(crate) refilled_at: DateTime<Utc>,
}

impl Bucket {
    /// As it is now; none before = full. A clock that goes back adds nothing.
    pub(crate) fn refilled(before: Option<Self>, limit: RateLimit, now: DateTime<Utc>) -> Self {
        let burst = f64::from(limit.burst);
        let Some(before) = before else { return Self { tokens: burst, refilled_at: now } };
        let elapsed = (now - before.refilled_at).to_std().unwrap_or_default();
        let rate = f64::from(limit.count) / limit.per.as_secs_f64();
        let tokens = (before.tokens + elapsed.as_secs_f64() * rate).min(burst);
        Self { tokens, refilled_at: before.refilled_at.max(now) }
    }

    /// How many notifications fit.
    pub(crate) fn fits(&self) -> usize {
        // The burst bounds it from above.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the burst")]
        let whole = self.tokens.max(0.0) as usize;
        whole
    }

    /// How many urgent ones fit: the burst may be owed.
    pub(crate) fn fits_urgent(&self, limit: RateLimit) -> usize {
        Self { tokens: self.tokens + f64::from(limit.burst), ..*self }.fits()
    }

    /// After so many notifications.
    pub(crate) fn without(self, messages: usize) -> Self {
        let taken = u32::try_from(messages).map_or(f64::MAX, f64::from);
        Self { tokens: self.tokens - taken, ..self }
    }

    /// Whether what is throttled since then becomes a digest now; with escalations among it, whatever they owe.
    pub(crate) fn is_digest_due(
        &self,
        throttled_since: Option<DateTime<Utc>>,
        escalated: Option<RateLimit>,
        now: DateTime<Utc>,
    ) -> bool {
        let least = escalated.map_or(0.0, |limit| -f64::from(limit.burst) - 1.0);
        throttled_since.is_some_and(|since| since + HOLD <= now) && self.tokens >= least
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms)
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const SMS: RateLimit = RateLimit { burst: 5, count: 12, per: Duration::from_secs(3_600) };

    #[test]
    fn a_digest_comes_after_half_a_minute_and_then_as_the_rate_allows() {
        let empty = Bucket { tokens: 0.0, refilled_at: at(0) };
        assert!(!Bucket::refilled(Some(empty), SMS, at(29_999)).is_digest_due(Some(at(0)), None, at(29_999)));
        let due = Bucket::refilled(Some(empty), SMS, at(30_000));
        assert!(due.is_digest_due(Some(at(0)), None, at(30_000)));
        let owing = due.without(1);
        assert!(!Bucket::refilled(Some(owing), SMS, at(90_000)).is_digest_due(Some(at(31_000)), None, at(90_000)));
        assert!(Bucket::refilled(Some(owing), SMS, at(301_000)).is_digest_due(Some(at(31_000)), None, at(301_000)));
        assert!(!due.is_digest_due(None, None, at(30_000)));
        // Escalations may owe a burst, their digest one more.
        for (tokens, is_due) in [(-5.9, true), (-6.1, false)] {
            let owing = Bucket { tokens, refilled_at: at(30_000) };
            assert_eq!(owing.is_digest_due(Some(at(0)), Some(SMS), at(30_000)), is_due, "{tokens}");
        }
    }

    proptest! {
        #[test]
        fn no_receiver_gets_more_than_the_burst_and_the_rate(
            burst in 1..50_u32, count in 1..100_u32, steps in prop::collection::vec((0..5_000_i64, 0..20_usize), 1..60),
        ) {
            let limit = RateLimit { burst, count, per: MINUTE };
            let (mut bucket, mut now, mut sent) = (None, 0, 0_usize);
            for (later, wanted) in steps {
                now += later;
                let refilled = Bucket::refilled(bucket, limit, at(now));
                let some = wanted.min(refilled.fits());
                bucket = Some(refilled.without(some));
                sent += some;
                let most = f64::from(burst) + f64::from(count) * (now as f64 / 60_000.0);
                prop_assert!(sent as f64 <= most + 1e-6, "{sent} of {most}");
            }
        }

        #[test]
        fn a_token_comes_after_a_while(tokens in -1.0..20.0_f64, count in 1..100_u32) {
            let limit = RateLimit { burst: 20, count, per: MINUTE };
            let later = Bucket::refilled(Some(Bucket { tokens, refilled_at: at(0) }), limit, at(121_000));
            prop_assert!(later.fits() >= 1 && later.fits() <= 20);
        }

        #[test]
        fn a_clock_that_goes_back_adds_nothing(tokens in 0.0..5.0_f64, back in 1..1_000_000_i64) {
            let bucket = Bucket { tokens, refilled_at: at(0) };
            prop_assert_eq!(Bucket::refilled(Some(bucket), SMS, at(-back)), bucket);
        }
    }
}

//! The back-off (exponential, with equal jitter): the growing wait before a retry.
//!
//! Users: `publish` (events that the bus refused), `notify` (deliveries that failed), `local` (messages that
//! failed).

use std::time::Duration;

/// The wait after so many doublings of the first one, with equal jitter: between half and all of it, so that many do not retry
/// at once. `random` is between 0 and 1.
#[must_use]
pub fn equal_jitter(first: Duration, doublings: u32, longest: Duration, random: f64) -> Duration {
    let whole = first.saturating_mul(1 << doublings.min(16)).min(longest);
    whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_grows_up_to_the_longest(doublings in 0..1_000_u32, random in 0.0..1.0_f64) {
            let (first, longest) = (Duration::from_secs(5), Duration::from_secs(900));
            let wait = equal_jitter(first, doublings, longest, random);
            prop_assert!(wait >= first / 2 && wait <= longest);
            prop_assert!(equal_jitter(first, doublings + 1, longest, random) >= wait);
        }
    }
}

//! A cheap latency histogram for percentiles: bucket *i* counts latencies of at least 1.25^i and less than 1.25^(i+1)
//! milliseconds. The first bucket also counts all shorter ones, the last all longer ones (from 56 s). A percentile is
//! off by less than a quarter.
//!
//! Users: `probe` (counts), `status` (percentiles).

use std::time::Duration;

/// The number of buckets.
pub const BUCKETS: usize = 50;

/// The ratio of one bucket's bounds to those of the bucket before it.
const GROWTH: f64 = 1.25;

/// The bucket of a latency, from 0.
#[must_use]
pub fn bucket(latency: Duration) -> usize {
    let milliseconds = latency.as_secs_f64() * 1_000.0;
    let mut end = GROWTH;
    for bucket in 0..BUCKETS - 1 {
        if milliseconds < end {
            return bucket;
        }
        end *= GROWTH;
    }
    BUCKETS - 1
}

/// The latency, in milliseconds, that a share `q` (0 to 1) of the counts does not exceed, interpolated within its
/// bucket. None if all counts are zero.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of checks are far below 2^52")]
pub fn percentile(counts: &[i64], q: f64) -> Option<f64> {
    let total = counts.iter().map(|count| (*count).max(0)).fold(0, i64::saturating_add);
    if total == 0 {
        return None;
    }
    let rank = if q.is_nan() { 0.0 } else { q.clamp(0.0, 1.0) } * total as f64;
    let (mut start, mut end) = (0.0, GROWTH);
    let (mut below, mut last) = (0.0, 0.0);
    for count in counts.iter().map(|count| (*count).max(0) as f64) {
        if count > 0.0 {
            if below + count >= rank {
                return Some(start + (end - start) * ((rank - below) / count).clamp(0.0, 1.0));
            }
            below += count;
            last = end;
        }
        (start, end) = (end, end * GROWTH);
    }
    // Only by a rounding error.
    Some(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_latency_has_its_bucket() {
        for (microseconds, expected) in [
            (0, 0),
            (1_000, 0),
            (1_249, 0),
            (1_250, 1),
            (1_562, 1),
            (1_563, 2),
            (100_000, 20),
            (5_000_000, 38),
            (30_000_000, 46),
            (56_000_000, 48),
            (60_000_000, 49),
            (u64::MAX, 49),
        ] {
            assert_eq!(bucket(Duration::from_micros(microseconds)), expected, "{microseconds} us");
        }
    }

    #[test]
    fn percentiles_lie_within_their_bucket() {
        let mut counts = [0; BUCKETS];
        assert_eq!(percentile(&counts, 0.5), None);
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&[-3], 0.5), None);
        counts[0] = 100;
        assert_eq!(percentile(&counts, 0.0), Some(0.0));
        assert_eq!(percentile(&counts, 0.5), Some(0.625));
        assert_eq!(percentile(&counts, 1.0), Some(1.25));
        // 1.25 to 1.5625 ms.
        counts[1] = 100;
        assert_eq!(percentile(&counts, 0.5), Some(1.25));
        assert_eq!(percentile(&counts, 0.75), Some(1.406_25));
        assert_eq!(percentile(&counts, 7.0), Some(1.562_5));
        assert_eq!(percentile(&counts, f64::NAN), Some(0.0));
    }

    proptest! {
        #[test]
        fn a_bucket_counts_latencies_within_its_bounds(microseconds in 0_u64..120_000_000) {
            let bucket = bucket(Duration::from_micros(microseconds));
            let milliseconds = microseconds as f64 / 1_000.0;
            let power = i32::try_from(bucket).unwrap();
            prop_assert!(bucket == 0 || milliseconds >= GROWTH.powi(power) * 0.999_999_9);
            prop_assert!(bucket == BUCKETS - 1 || milliseconds < GROWTH.powi(power + 1) * 1.000_000_1);
        }

        #[test]
        fn a_percentile_is_off_by_less_than_a_quarter(
            mut latencies in prop::collection::vec(2_u64..50_000, 1..300),
            q in 0.01_f64..=1.0,
        ) {
            let mut counts = [0; BUCKETS];
            for latency in &latencies {
                counts[bucket(Duration::from_millis(*latency))] += 1;
            }
            latencies.sort_unstable();
            let rank = (q * latencies.len() as f64).ceil() as usize;
            let exact = latencies[rank.clamp(1, latencies.len()) - 1] as f64;
            let read = percentile(&counts, q).unwrap();
            prop_assert!(read <= exact * 1.25 && read >= exact / 1.25, "{read} instead of {exact}");
        }

        #[test]
        fn a_larger_share_is_never_less(
            counts in prop::collection::vec(0_i64..1_000, BUCKETS), q in 0.0_f64..=1.0, more in 0.0_f64..=1.0,
        ) {
            let (less, more) = (q.min(more), q.max(more));
            prop_assert!(percentile(&counts, less) <= percentile(&counts, more));
        }
    }
}

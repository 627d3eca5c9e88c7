//! Statistics over many durations: rate and percentiles.

use std::time::Duration;

/// The measurements of one kind of request.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    latencies: Vec<Duration>,
    /// How long the measuring took.
    pub(crate) elapsed: Duration,
}

impl Figures {
    /// Figures of these requests.
    pub(crate) fn new(latencies: Vec<Duration>, elapsed: Duration) -> Self {
        Self { latencies, elapsed }
    }

    /// Adds a further round.
    pub(crate) fn add(&mut self, round: Self) {
        self.latencies.extend(round.latencies);
        self.elapsed += round.elapsed;
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Requests per second.
    #[expect(clippy::cast_precision_loss, reason = "no benchmark sends 2^52 requests")]
    pub(crate) fn rate(&self) -> f64 {
        self.count() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latencies that 50, 95 and 99 of 100 requests did not exceed, in milliseconds.
    pub(crate) fn percentiles(&self) -> [f64; 3] {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        [50, 95, 99].map(|percent| {
            let rank = (sorted.len() * percent).div_ceil(100);
            milliseconds(sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default())
        })
    }
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Whether an aim is met, as a word.
pub(crate) fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let figures = Figures::new((1..=200).map(Duration::from_millis).collect(), Duration::from_secs(2));
        assert_eq!((figures.percentiles(), figures.rate()), ([100.0, 190.0, 198.0], 100.0));
        assert_eq!(Figures::default().percentiles(), [0.0; 3]);
    }
}

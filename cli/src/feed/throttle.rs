//! The rate limit of the feed: lines per second. Pure.

use std::time::{Duration, Instant};

/// Limits the lines of each second.
pub(super) struct Throttle {
    began: Instant,
    shown: u32,
    hidden: u64,
}

impl Throttle {
    const SECOND: Duration = Duration::from_secs(1);
    /// The rate limit.
    const LINES: u32 = 10;

    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, shown: 0, hidden: 0 }
    }

    /// The rest of this second.
    pub(super) fn left(&self, now: Instant) -> Duration {
        (self.began + Self::SECOND).saturating_duration_since(now)
    }

    /// Adds dropped lines; starts the next second if this one has ended, and then returns how many lines of it were not
    /// shown, if any.
    pub(super) fn roll(&mut self, now: Instant, missed: u64) -> Option<u64> {
        self.hidden += missed;
        if !self.left(now).is_zero() {
            return None;
        }
        let hidden = self.hidden;
        *self = Self::new(now);
        (hidden > 0).then_some(hidden)
    }

    /// Whether the next line is shown.
    pub(super) fn admits(&mut self) -> bool {
        let admits = self.shown < Self::LINES;
        if admits {
            self.shown += 1;
        } else {
            self.hidden += 1;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_are_shown_in_a_second_and_the_rest_is_counted() {
        let begun = Instant::now();
        let mut throttle = Throttle::new(begun);
        let shown = (0..500).filter(|_| throttle.admits()).count();
        assert_eq!(shown, 10);
        assert_eq!(throttle.roll(begun + Duration::from_millis(900), 5), None, "the second is not over");
        assert_eq!(throttle.roll(begun + Duration::from_secs(1), 5), Some(500));
        assert!(throttle.admits());
        assert_eq!(throttle.roll(begun + Duration::from_secs(3), 0), None, "nothing was hidden");
    }
}

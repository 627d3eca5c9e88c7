//! How many unverified records may be deferred: any client can send them while the database can't be asked about them.
//!
//! Users: `heartbeat`, `sentry-envelope`.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// So many records a minute, in one process.
#[derive(Debug)]
pub struct Allowance {
    per_minute: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: DateTime<Utc>,
    taken: u32,
}

impl Allowance {
    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    /// This many a minute.
    #[must_use]
    pub const fn new(per_minute: u32) -> Self {
        Self { per_minute, window: Mutex::new(Window { began: DateTime::UNIX_EPOCH, taken: 0 }) }
    }

    /// Whether one more may be deferred now; if so, it is counted.
    pub fn take(&self, now: DateTime<Utc>) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins a new minute too.
        if now < window.began || now - window.began >= Self::MINUTE {
            *window = Window { began: now, taken: 0 };
        }
        let is_left = window.taken < self.per_minute;
        window.taken += u32::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pass_in_a_minute() {
        let (allowance, start) = (Allowance::new(2), DateTime::UNIX_EPOCH + TimeDelta::days(1));
        let seconds = |seconds: i64| start + TimeDelta::seconds(seconds);
        let taken = [0, 1, 2, 59, 60, 61, 62].map(|at| allowance.take(seconds(at)));
        assert_eq!(taken, [true, true, false, false, true, true, false]);
        assert!(allowance.take(start), "the clock was set back");
    }
}

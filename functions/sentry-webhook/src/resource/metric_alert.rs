//! `metric_alert.critical` and `.warning`: a measurement has crossed a threshold.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::model::{Report, Severity, UpstreamGroup};

use super::{Meaning, SOURCE, delivery_key, keep};
use crate::payload::{Delivery, id, items, text};

/// The report of a metric alert.
pub(super) fn report(delivery: &Delivery, alert: &Value, now: DateTime<Utc>) -> Meaning {
    if !alert.is_object() {
        return Meaning::Ignored("the delivery holds no metric alert");
    }
    let rule = alert.get("alert_rule").unwrap_or(&Value::Null);
    let told = |name: &str| delivery.data(name).as_str().map(str::trim).filter(|text| !text.is_empty());
    let title = text(alert, "title").or_else(|| told("description_title")).or_else(|| text(rule, "name"));
    let message = told("description_text").or(title).unwrap_or("a metric alert without a title").to_owned();
    let action = delivery.action();
    // One alert may become worse and better again: each of its steps tells something else.
    let key = delivery_key("metric-alert", None, &json!([action, delivery.whole()]));
    let mut report = Report::new(key, SOURCE, message, now);
    report.title = title.map(str::to_owned);
    report.error_type = Some("metric_alert".to_owned());
    report.severity = (action == "critical").then_some(Severity::Critical);
    let mut projects = items(alert, "projects").chain(items(rule, "projects")).filter_map(Value::as_str);
    report.application = projects.next().unwrap_or_default().to_owned();
    report.environment = text(rule, "environment").unwrap_or_default().to_owned();
    // Each firing has an id of its own; the rule is what keeps failing.
    let group = id(rule, "id").map(|id| format!("metric-rule-{id}"));
    let group = group.or_else(|| id(alert, "id").map(|id| format!("metric-alert-{id}")));
    report.upstream_group = group.map(|id| UpstreamGroup { system: SOURCE.into(), id });
    keep(&mut report, "level", action);
    for (name, key) in [("aggregate", "aggregate"), ("query", "query"), ("dataset", "dataset"), ("name", "alert_rule")]
    {
        keep(&mut report, key, text(rule, name).unwrap_or_default());
    }
    keep(&mut report, "sentry_url", told("web_url").unwrap_or_default());
    Meaning::Report(Box::new(report))
}

//! What a delivery means to us: one file per kind. Pure.

mod event;
mod issue;
mod metric_alert;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::model::{DeliveryKey, Report};
use shared::sentry_event::apply_level;
use url::Url;

use crate::payload::Delivery;

/// What reports from here are called.
const SOURCE: &str = "sentry";

/// What a delivery means.
#[derive(Debug)]
pub enum Meaning {
    /// An error.
    Report(Box<Report>),
    /// Nothing to store, for this reason.
    Ignored(&'static str),
}

/// What this delivery means.
#[must_use]
pub fn meaning(delivery: &Delivery, now: DateTime<Utc>) -> Meaning {
    match (delivery.resource(), delivery.action()) {
        ("error", "created") => event::report(delivery.data("error"), now),
        ("event_alert", "triggered") => event::report(delivery.data("event"), now),
        ("issue", "created") => issue::report(delivery.data("issue"), now),
        ("metric_alert", "critical" | "warning") => metric_alert::report(delivery, delivery.data("metric_alert"), now),
        ("error" | "event_alert" | "issue" | "metric_alert", _) => Meaning::Ignored("this action opens no incident"),
        _ => Meaning::Ignored("this resource carries no error"),
    }
}

/// Notes what is known, and nothing where nothing is.
fn keep(report: &mut Report, name: &str, value: &str) {
    if !value.is_empty() {
        report.context.insert(name.to_owned(), json!(value));
    }
}

/// The key of a delivery whose kind has an id of its own; without one, the content itself tells.
fn delivery_key(kind: &str, id: Option<&str>, content: &Value) -> DeliveryKey {
    let text = match id {
        Some(id) => format!("{kind}/{id}"),
        None => format!("{kind}//{content}"),
    };
    DeliveryKey::derived(SOURCE, text.as_bytes())
}

/// The project's slug in the address of an event: `…/projects/ORGANISATION/PROJECT/events/…`.
fn project_slug(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut segments = url.path_segments()?.skip_while(|segment| *segment != "projects").skip(2);
    segments.next().filter(|slug| !slug.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slug_stands_in_the_events_address() {
        for (url, slug) in [
            ("https://sentry.io/api/0/projects/acme/shop-web/events/e1/", Some("shop-web")),
            ("https://sentry.io/projects/acme/shop/events/1", Some("shop")),
            ("https://sentry.io/api/0/issues/1/", None),
            ("nonsense", None),
        ] {
            assert_eq!(project_slug(url).as_deref(), slug, "{url}");
        }
    }
}

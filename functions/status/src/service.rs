//! One service in `/status`: its state without its configuration. Addresses, headers, settings and conditions may be
//! confidential. The failure's text is shown: it contains the condition and the seen value, with secrets removed.

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::model::{BreakerState, Kind, ServiceState, latency};
use shared::store::services::{Listed, Seen, SeenBreaker};
use shared::store::uptime::Uptime;

/// The state of a service.
#[derive(Debug, Serialize)]
pub struct ServiceOverview {
    /// Its name, unique in its environment.
    pub name: String,
    /// The kind of the check.
    pub kind: Kind,
    /// Its group: services of one entry.
    pub group: Option<String>,
    /// Its state.
    pub state: ServiceState,
    /// When the state changed.
    pub since: Option<DateTime<Utc>>,
    /// The first failed check of the current failure.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it was last checked.
    pub last_checked_at: Option<DateTime<Utc>>,
    /// The response time in milliseconds; none for a heartbeat.
    pub latency_ms: Option<i32>,
    /// Why it failed, for machines.
    pub reason: Option<String>,
    /// Why it failed, for people.
    pub error: Option<String>,
    /// Why its alerts are suppressed: `maintenance`, or `parent NAME`.
    pub held_by: Option<String>,
    /// Whether it is flapping: a single passed check is no recovery.
    pub flapping: bool,
    /// Its circuit breaker, if it is an external service that has failed.
    pub breaker: Option<BreakerOverview>,
    /// When the first certificate of its chain expires.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// The share of passed checks in the last 24 hours, in percent, without maintenance.
    pub uptime_24h: Option<f64>,
    /// The median response time of the last 24 hours; accurate to a quarter.
    pub p50_ms: Option<f64>,
    /// The 95th percentile.
    pub p95_ms: Option<f64>,
    /// The 99th percentile.
    pub p99_ms: Option<f64>,
}

/// The state of a circuit breaker.
#[derive(Debug, Serialize)]
pub struct BreakerOverview {
    /// Closed, open or half open.
    pub state: BreakerState,
    /// When the next attempt is let through.
    pub retry_at: Option<DateTime<Utc>>,
}

impl ServiceOverview {
    /// The overview of a service and its last day.
    #[must_use]
    pub fn of(listed: Listed, day: Option<&Uptime>) -> Self {
        let (spec, standing) = (listed.service.spec, listed.service.standing);
        let Seen { last_checked_at, latency_ms, reason, error, held_by, certificate_expires_at, breaker } = listed.seen;
        // A heartbeat has no response time.
        let has_latency = spec.kind != Kind::Heartbeat;
        let percentile = |share: f64| {
            let milliseconds = latency::percentile(&day.filter(|_| has_latency)?.latency_counts, share)?;
            Some((milliseconds * 10.0).round() / 10.0)
        };
        Self {
            name: spec.name,
            kind: spec.kind,
            group: spec.group,
            state: standing.state,
            since: standing.state_changed_at,
            failing_since: standing.failing_since,
            last_checked_at,
            latency_ms: latency_ms.filter(|_| has_latency),
            reason,
            error,
            held_by,
            flapping: standing.flapping,
            breaker: breaker.map(|SeenBreaker { state, retry_at }| BreakerOverview { state, retry_at }),
            certificate_expires_at,
            uptime_24h: day.and_then(Uptime::percent).map(|percent| (percent * 1_000.0).round() / 1_000.0),
            p50_ms: percentile(0.5),
            p95_ms: percentile(0.95),
            p99_ms: percentile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::model::{Service, ServiceSpec, Standing};
    use uuid::Uuid;

    use super::*;

    /// A service whose settings all contain this word, and that fails for this reason.
    fn failing(word: &str, error: &str) -> Listed {
        let mut spec = ServiceSpec::http("shop", "production", &format!("https://{word}.example/{word}?{word}"));
        word.clone_into(&mut spec.application);
        spec.check.method = "POST".to_owned();
        spec.check.headers.insert(format!("x-{word}"), word.to_owned());
        spec.check.body = Some(word.to_owned());
        spec.check.conditions = vec![format!("[BODY].{word} == true")];
        spec.check.dns_server = Some(word.to_owned());
        spec.policy.tags = vec![word.to_owned()];
        spec.policy.parents = vec![word.to_owned()];
        let seen = Seen {
            last_checked_at: Some(DateTime::UNIX_EPOCH),
            latency_ms: Some(17),
            reason: Some("condition".to_owned()),
            error: Some(error.to_owned()),
            held_by: Some("maintenance".to_owned()),
            certificate_expires_at: Some(DateTime::UNIX_EPOCH),
            breaker: Some(SeenBreaker { state: BreakerState::Open, retry_at: None }),
        };
        Listed { service: Service { id: Uuid::nil(), spec, standing: Standing::NEW }, seen }
    }

    #[test]
    fn the_configuration_is_hidden_and_the_failure_is_shown() {
        let day = Uptime { healthy: 3, degraded: 0, down: 1, latency_counts: vec![0, 3] };
        let error = "[BODY].ok == true does not hold: it is false";
        let overview = serde_json::to_value(ServiceOverview::of(failing("marker", error), Some(&day))).unwrap();
        assert!(!overview.to_string().contains("marker"), "{overview}");
        assert_eq!(
            (&overview["name"], &overview["kind"], &overview["state"]),
            (&"shop".into(), &"http".into(), &"unknown".into())
        );
        assert_eq!((&overview["error"], &overview["reason"]), (&error.into(), &"condition".into()));
        assert_eq!((&overview["latency_ms"], &overview["breaker"]["state"]), (&17.into(), &"open".into()));
        assert_eq!((&overview["held_by"], overview["uptime_24h"].as_f64()), (&"maintenance".into(), Some(75.0)));
        assert!(
            overview["p95_ms"].as_f64().is_some_and(|milliseconds| (1.25..=1.6).contains(&milliseconds)),
            "{overview}"
        );
        // Another configuration gives the same overview.
        let other = serde_json::to_value(ServiceOverview::of(failing("other", error), Some(&day))).unwrap();
        assert_eq!(other, overview);
    }
}

//! One service in `/status`: how it is, and nothing of its configuration. Addresses, headers, settings and conditions may
//! tell more than who reads this should know. Why it fails is told in the words of its failure: those name the condition
//! that does not hold and what was found instead, with what is secret taken out.

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::model::{BreakerState, Kind, ServiceState, latency};
use shared::store::services::{Listed, Seen, SeenBreaker};
use shared::store::uptime::Uptime;

/// How a service is.
#[derive(Debug, Serialize)]
pub struct ServiceOverview {
    /// Its name, unique in its environment.
    pub name: String,
    /// What kind of check it is.
    pub kind: Kind,
    /// What it belongs to, with others of one entry.
    pub group: Option<String>,
    /// How it is.
    pub state: ServiceState,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// The first failed check of those in a row, while it fails.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it was last checked.
    pub last_checked_at: Option<DateTime<Utc>>,
    /// How long that took, in milliseconds; none of a heartbeat.
    pub latency_ms: Option<i32>,
    /// Why it failed, for machines.
    pub reason: Option<String>,
    /// Why it failed, for people.
    pub error: Option<String>,
    /// Why nobody is told while it fails: `maintenance`, or `parent NAME`.
    pub held_by: Option<String>,
    /// Whether it goes up and down so often that a good check means nothing.
    pub flapping: bool,
    /// Its circuit breaker, where it is somebody else's service that has failed.
    pub breaker: Option<BreakerOverview>,
    /// When the first certificate of its chain ends.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// The share of its checks of the last 24 hours that did not fail, in percent, maintenance aside.
    pub uptime_24h: Option<f64>,
    /// Half of the answers of the last 24 hours came within so many milliseconds; off by less than a quarter.
    pub p50_ms: Option<f64>,
    /// 95 of 100.
    pub p95_ms: Option<f64>,
    /// 99 of 100.
    pub p99_ms: Option<f64>,
}

/// How a circuit breaker stands.
#[derive(Debug, Serialize)]
pub struct BreakerOverview {
    /// Closed, open or half open.
    pub state: BreakerState,
    /// When the next attempt is let through.
    pub retry_at: Option<DateTime<Utc>>,
}

impl ServiceOverview {
    /// What is told of a service and its last day.
    #[must_use]
    pub fn of(listed: Listed, day: Option<&Uptime>) -> Self {
        let (spec, standing) = (listed.service.spec, listed.service.standing);
        let Seen { last_checked_at, latency_ms, reason, error, held_by, certificate_expires_at, breaker } = listed.seen;
        // Nobody answers: a job comes to us.
        let is_asked = spec.kind != Kind::Heartbeat;
        let percentile = |share: f64| {
            let milliseconds = latency::percentile(&day.filter(|_| is_asked)?.latency_counts, share)?;
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
            latency_ms: latency_ms.filter(|_| is_asked),
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

    /// A service whose every setting is this word, and that fails for this reason.
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
    fn nothing_of_how_a_service_is_configured_is_told_but_why_it_fails_is() {
        let day = Uptime { healthy: 3, degraded: 0, down: 1, latency_counts: vec![0, 3] };
        let error = "[BODY].ok == true does not hold: it is false";
        let told = serde_json::to_value(ServiceOverview::of(failing("marker", error), Some(&day))).unwrap();
        assert!(!told.to_string().contains("marker"), "{told}");
        assert_eq!((&told["name"], &told["kind"], &told["state"]), (&"shop".into(), &"http".into(), &"unknown".into()));
        assert_eq!((&told["error"], &told["reason"]), (&error.into(), &"condition".into()));
        assert_eq!((&told["latency_ms"], &told["breaker"]["state"]), (&17.into(), &"open".into()));
        assert_eq!((&told["held_by"], told["uptime_24h"].as_f64()), (&"maintenance".into(), Some(75.0)));
        assert!(told["p95_ms"].as_f64().is_some_and(|milliseconds| (1.25..=1.6).contains(&milliseconds)), "{told}");
        // What is configured otherwise looks the same.
        let other = serde_json::to_value(ServiceOverview::of(failing("other", error), Some(&day))).unwrap();
        assert_eq!(other, told);
    }
}

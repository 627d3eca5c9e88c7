//! One check of a service: an attempt, and quick retries with a pause when it fails. A blip opens no outage; a real
//! outage is confirmed within a minute.
//!
//! Each kind is a module that makes one attempt: `http`, `tcp`, `tls`, `dns`, `postgres`, `heartbeat`.

mod attempt;
mod capture;
mod dns;
mod failure;
mod heartbeat;
mod http;
mod postgres;
mod secrets;
mod tcp;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use shared::config::Secrets;
use shared::model::{FailureReason, Verdict, text};
use shared::redact::Redactor;
use shared::store::probing::ClaimedService;
use shared::tls::Trust;
use tokio::time::{Instant, sleep};
use url::Url;

use attempt::Attempt;
pub use failure::Failure;

use crate::net::tls::Tls;
use crate::net::{Cidr, Connector, Guard, Hop, Names};

/// The most retries of a failed attempt.
const RETRIES: usize = 2;

/// The pause before a retry is a tenth of the timeout, at most this.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The most hops that are stored of a chain of redirects.
const MAX_HOPS: usize = 5;

/// The configuration of a checker.
#[derive(Debug, Clone)]
pub struct CheckerConfig {
    /// Special addresses that may be checked (`PROBE_ALLOW_CIDRS`).
    pub allow: Vec<Cidr>,
    /// Where the variables are looked up that services refer to.
    pub secrets: Secrets,
    /// Removes personal data and secrets from what is stored of an answer.
    pub redactor: Redactor,
    /// Which certificates are trusted.
    pub trust: Trust,
    /// Which servers resolve names; none = the system's.
    pub name_servers: Vec<SocketAddr>,
}

impl CheckerConfig {
    /// What runs in production: public certificates, and the system's name servers.
    #[must_use]
    pub fn new(allow: Vec<Cidr>, secrets: Secrets, redactor: Redactor) -> Self {
        Self { allow, secrets, redactor, trust: Trust::PublicRoots, name_servers: Vec::new() }
    }
}

/// Checks services. Built once per process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Checker {
    tools: Arc<Tools>,
}

/// Shared by all kinds of check.
#[derive(Debug)]
struct Tools {
    connector: Connector,
    tls: Tls,
    secrets: Secrets,
    redactor: Redactor,
}

/// The result of a check: its last attempt.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Healthy, degraded or failed.
    pub verdict: Verdict,
    /// Why it failed or is degraded.
    pub failure: Option<Failure>,
    /// The status of the answer, if there is one.
    pub http_status: Option<u16>,
    /// From the start to the head of the last answer, or to the end if there was none.
    pub response_time: Duration,
    /// Each target that was requested, with the duration of each phase.
    pub hops: Vec<Hop>,
    /// When the first of the last target's certificates expires.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// What was measured (`postgres`).
    pub measurements: Option<Value>,
    /// What a failed target answered, redacted: its headers and the beginning of its body.
    pub captured: Option<Value>,
    /// How many attempts were made.
    pub attempts: usize,
    /// When the check began.
    pub checked_at: DateTime<Utc>,
}

impl Outcome {
    /// Whether the fault is this process's own: then nothing is known of the service.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::Ours)
    }

    /// Why it failed, for a person; empty when it passed.
    #[must_use]
    pub fn failure_text(&self) -> &str {
        self.failure.as_ref().map_or("", |failure| &failure.text)
    }

    /// Removes the characters that Postgres refuses, so that no answer prevents storing the result.
    fn storable(mut self) -> Self {
        self.failure =
            self.failure.map(|failure| Failure { text: text::storable(&failure.text).into_owned(), ..failure });
        for hop in &mut self.hops {
            hop.url = text::storable(&hop.url).into_owned();
        }
        self.measurements = self.measurements.map(text::storable_value);
        self.captured = self.captured.map(text::storable_value);
        self
    }

    /// What is stored of a check beside its result: the phases in milliseconds, and hops, retries and address where
    /// they matter. The captured answer is not part of it: it is stored once, with the incident.
    #[must_use]
    pub fn details(&self) -> Value {
        let mut details = Map::new();
        if let Some(hop) = self.hops.last() {
            details.insert("phases".into(), hop.phases.to_json());
        }
        if self.hops.len() > 1 {
            let hops: Vec<Value> = self
                .hops
                .iter()
                .take(MAX_HOPS)
                .map(|hop| json!({ "url": hop.url, "status": hop.status, "phases": hop.phases.to_json() }))
                .collect();
            details.insert("hops".into(), hops.into());
        }
        if self.attempts > 1 {
            details.insert("attempts".into(), self.attempts.into());
        }
        if self.verdict != Verdict::Healthy
            && let Some(address) = self.hops.last().and_then(|hop| hop.address)
        {
            details.insert("address".into(), address.to_string().into());
        }
        Value::Object(details)
    }
}

impl Checker {
    /// Builds the shared parts; no network access.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(config: CheckerConfig) -> anyhow::Result<Self> {
        let runtime_api = config.secrets.get("AWS_LAMBDA_RUNTIME_API");
        let guard =
            Guard::new(config.allow).closing_runtime_api(runtime_api.as_ref().map(|address| address.expose_secret()));
        let names = if config.name_servers.is_empty() { Names::of_system() } else { Names::at(config.name_servers) };
        let tools = Tools {
            connector: Connector::new(guard, names),
            tls: Tls::new(&config.trust)?,
            secrets: config.secrets,
            redactor: config.redactor,
        };
        Ok(Self { tools: Arc::new(tools) })
    }

    /// Checks the service: up to three attempts, each with the service's timeout, all within twice the timeout; no
    /// retry where the service is known to fail.
    pub async fn check(&self, claimed: &ClaimedService, now: DateTime<Utc>) -> Outcome {
        let timeout = claimed.service.spec.timeout;
        let deadline = Instant::now() + timeout * 2;
        let pause = (timeout / 10).min(MAX_PAUSE);
        let mut attempt = attempt::run(&self.tools, claimed, timeout, now).await;
        let mut attempts = 1;
        while attempts <= RETRIES && is_worth_a_retry(&attempt, claimed) {
            // After a timeout, the retry starts at once: it may need the whole timeout too.
            let pause = if attempt.timed_out() { Duration::ZERO } else { pause };
            let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(pause);
            // A retry with too little time left would fail for that reason alone.
            if left < timeout / 4 {
                break;
            }
            sleep(pause).await;
            attempt = attempt::run(&self.tools, claimed, timeout.min(left), now).await;
            attempts += 1;
        }
        attempt.into_outcome(attempts, now)
    }
}

/// The address of an `http` service for display: without user, password and query.
#[must_use]
pub fn shown(target: &str) -> String {
    Url::parse(target).map_or_else(|_| String::new(), |url| http::shown(&url))
}

/// The host of an `http` service's address.
#[must_use]
pub fn host(target: &str) -> Option<String> {
    Url::parse(target).ok().and_then(|url| url.host_str().map(str::to_owned))
}

/// Whether to retry: a new failure is confirmed, unless its cause can't change within seconds.
fn is_worth_a_retry(attempt: &Attempt, claimed: &ClaimedService) -> bool {
    let standing = &claimed.service.standing;
    let Some(failure) = &attempt.failure else { return false };
    let lasting = matches!(
        failure.reason,
        FailureReason::Blocked | FailureReason::Misconfigured | FailureReason::Heartbeat | FailureReason::BodyTooLarge
    );
    match attempt.verdict {
        Verdict::Healthy => false,
        Verdict::Degraded => {
            failure.reason == FailureReason::Slow
                && standing.consecutive_degraded == 0
                && standing.consecutive_failures == 0
        }
        Verdict::Failed => !lasting && standing.consecutive_failures == 0,
    }
}

//! One check of a service: an attempt, and quick retries when it is not well. A blip is no outage, a real one is known
//! within the minute.
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

/// How often a failed attempt is repeated.
const RETRIES: usize = 2;

/// The pause before a retry is a tenth of the time-out, at most this.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Of a long way, only the beginning is kept.
const TOLD_HOPS: usize = 5;

/// What a checker needs to know.
#[derive(Debug, Clone)]
pub struct CheckerConfig {
    /// Special addresses that may be asked all the same (`PROBE_ALLOW_CIDRS`).
    pub allow: Vec<Cidr>,
    /// Where the variables are looked up that services refer to.
    pub secrets: Secrets,
    /// Takes personal data and secrets out of what is kept of an answer.
    pub redactor: Redactor,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Who resolves names; none = as the system is configured.
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

/// What the kinds share.
#[derive(Debug)]
struct Tools {
    connector: Connector,
    tls: Tls,
    secrets: Secrets,
    redactor: Redactor,
}

/// What a check found: its deciding attempt.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How the service is.
    pub verdict: Verdict,
    /// Why it failed, or is not well.
    pub failure: Option<Failure>,
    /// What was answered, if anything.
    pub http_status: Option<u16>,
    /// From the beginning to the head of the last answer, or to the end where there was none.
    pub response_time: Duration,
    /// Each target on the way, with how long each step took.
    pub hops: Vec<Hop>,
    /// When the first of the certificates ends that the last target showed.
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
    /// Whether the fault is this process's own, so that nothing is known of the service.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::Ours)
    }

    /// Why it failed, for a person; empty when it passed.
    #[must_use]
    pub fn failure_text(&self) -> &str {
        self.failure.as_ref().map_or("", |failure| &failure.text)
    }

    /// Without the characters that Postgres refuses: a target that says them would hide what was found of it.
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

    /// What is kept of a check beside its result: the steps in milliseconds, and what is out of the ordinary. What was
    /// captured is not part of it: that belongs to the incident, once.
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
                .take(TOLD_HOPS)
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
    /// Sets everything up; touches no network.
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

    /// Checks the service, beginning now: up to three attempts, each under the service's time-out, all within twice that
    /// time; one where it is known already that it is not well.
    pub async fn check(&self, claimed: &ClaimedService, now: DateTime<Utc>) -> Outcome {
        let timeout = claimed.service.spec.timeout;
        let deadline = Instant::now() + timeout * 2;
        let pause = (timeout / 10).min(MAX_PAUSE);
        let mut attempt = attempt::run(&self.tools, claimed, timeout, now).await;
        let mut attempts = 1;
        while attempts <= RETRIES && is_worth_a_retry(&attempt, claimed) {
            // One that took its whole time needs no pause: its retry gets the whole time too.
            let pause = if attempt.timed_out() { Duration::ZERO } else { pause };
            let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(pause);
            // A retry that has no time to succeed would only confirm our own haste.
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

/// The address of an `http` service as it may be shown: without user, password and query.
#[must_use]
pub fn shown(target: &str) -> String {
    Url::parse(target).map_or_else(|_| String::new(), |url| http::shown(&url))
}

/// The host of an `http` service's address.
#[must_use]
pub fn host(target: &str) -> Option<String> {
    Url::parse(target).ok().and_then(|url| url.host_str().map(str::to_owned))
}

/// What is new is confirmed, unless it can't change within the moment.
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

//! The checker against real, also hostile, servers, each on a free port of the loopback interface.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bodies;
mod certificates;
mod conditions;
mod dns;
mod hostile;
mod http;
mod ports;
mod redirects;
mod retries;
mod server;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use probe::check::{Checker, CheckerConfig, Outcome};
use probe::net::guard::Cidr;
use shared::config::Secrets;
use shared::model::{FailureReason, Kind, Service, ServiceSpec, Slot, Standing, Verdict};
use shared::redact::Redactor;
use shared::store::probing::ClaimedService;
use shared::tls::Trust;
use uuid::Uuid;

/// Long enough for every server that answers, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Short, for servers that do not answer.
const IMPATIENT: Duration = Duration::from_millis(500);

/// A checker that may connect to the loopback interface.
fn config() -> CheckerConfig {
    let secrets = Secrets::from_lookup(|name| (name == "PROBE_SECRET_KEY").then(|| "s3cret-value".to_owned()));
    CheckerConfig::new(Cidr::loopback(), secrets, Redactor::default())
}

fn checker() -> Checker {
    Checker::new(config()).unwrap()
}

/// A checker that trusts these certificates (PEM).
fn checker_trusting(pem: &str) -> Checker {
    Checker::new(CheckerConfig { trust: Trust::Only(pem.to_owned()), ..config() }).unwrap()
}

/// A checker that queries this name server.
fn checker_asking(name_server: SocketAddr) -> Checker {
    Checker::new(CheckerConfig { name_servers: vec![name_server], ..config() }).unwrap()
}

fn spec(kind: Kind, target: &str) -> ServiceSpec {
    ServiceSpec { kind, timeout: TIMEOUT, ..ServiceSpec::http("backend", "production", target) }
}

fn http(target: &str) -> ServiceSpec {
    spec(Kind::Http, target)
}

/// With a short time-out, for a server that hangs.
fn impatient(spec: ServiceSpec) -> ServiceSpec {
    ServiceSpec { timeout: IMPATIENT, ..spec }
}

/// With these conditions.
fn with_conditions(mut spec: ServiceSpec, conditions: &[&str]) -> ServiceSpec {
    spec.check.conditions = conditions.iter().map(|condition| (*condition).to_owned()).collect();
    spec
}

fn claimed(spec: ServiceSpec) -> ClaimedService {
    let service = Service { id: Uuid::from_u128(1), spec, standing: Standing::NEW };
    ClaimedService::new(service, Slot { start: DateTime::UNIX_EPOCH, period_seconds: 60 })
}

/// One attempt at a service that is failing already; repeated while this process was too busy to judge.
async fn once(checker: &Checker, spec: ServiceSpec) -> Outcome {
    let mut claimed = claimed(spec);
    claimed.service.standing.consecutive_failures = 1;
    loop {
        let outcome = checker.check(&claimed, Utc::now()).await;
        if outcome.failure.as_ref().is_none_or(|failure| failure.reason != FailureReason::Ours) {
            return outcome;
        }
    }
}

/// The reason and the text of the failure.
#[track_caller]
fn failed(outcome: &Outcome) -> (FailureReason, &str) {
    assert_eq!(outcome.verdict, Verdict::Failed, "{outcome:?}");
    let failure = outcome.failure.as_ref().unwrap();
    (failure.reason, &failure.text)
}

/// The configuration error, which does not count as downtime.
#[track_caller]
fn misconfigured(outcome: &Outcome) -> &str {
    let failure = outcome.failure.as_ref().unwrap();
    assert_eq!((outcome.verdict, failure.reason), (Verdict::Degraded, FailureReason::Misconfigured), "{outcome:?}");
    &failure.text
}

#[track_caller]
fn healthy(outcome: &Outcome) {
    assert_eq!((outcome.verdict, outcome.failure.as_ref()), (Verdict::Healthy, None), "{outcome:?}");
}

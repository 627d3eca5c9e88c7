//! One attempt over HTTP, and why it failed: told apart by the errors' types, and by text only where hyper keeps its
//! own to itself.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use shared::model::{FailureReason, Service};
use shared::tls::{self, Trust};

/// How many redirects are followed before the target counts as failing.
const REDIRECTS: usize = 5;

/// Errors of the system that are our own lack: ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL and ENOBUFS (Linux), the last two
/// again (macOS).
const OURS: [i32; 7] = [12, 23, 24, 99, 105, 49, 55];

/// What one attempt brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was answered, if anything.
    pub http_status: Option<u16>,
    /// From the first byte sent to the head of the answer.
    pub took: Duration,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For machines.
    pub reason: FailureReason,
    /// For people.
    pub text: String,
}

/// The HTTP clients. No connection is kept: each attempt measures the whole way, and a socket that slept through a
/// Lambda's freeze is no reason to call a service down.
#[derive(Debug)]
pub struct Clients {
    following: reqwest::Client,
    staying: reqwest::Client,
}

impl Clients {
    /// Sets up the clients; touches no network.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { following: client(Policy::limited(REDIRECTS))?, staying: client(Policy::none())? })
    }

    /// Redirects are followed unless one is the expected answer.
    fn for_service(&self, service: &Service) -> &reqwest::Client {
        if service.spec.check.expected_statuses.expect_redirect() { &self.staying } else { &self.following }
    }
}

fn client(redirects: Policy) -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client_config(&Trust::PublicRoots)?)
        .redirect(redirects)
        .pool_max_idle_per_host(0)
        .no_proxy()
        .referer(false)
        .user_agent(concat!("watchkeeper/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

/// Asks the service once. Only the head of the answer is read.
pub async fn run(clients: &Clients, service: &Service, timeout: Duration) -> Attempt {
    let started = Instant::now();
    let request = clients.for_service(service).get(&service.spec.target).timeout(timeout).send();
    // The client's own time-out begins with the connection; this one is the whole attempt's.
    let result = tokio::time::timeout(timeout, request).await;
    let took = started.elapsed();
    let (http_status, failure) = match result {
        Ok(Ok(response)) => {
            let status = response.status().as_u16();
            let expected = &service.spec.check.expected_statuses;
            let failure = (!expected.contains(status)).then(|| Failure {
                reason: FailureReason::Status,
                text: format!("status {status} instead of {expected}"),
            });
            (Some(status), failure)
        }
        Ok(Err(error)) => (None, Some(failure_of(&error, service))),
        Err(_) => (None, Some(timed_out(service))),
    };
    Attempt { http_status, took, failure }
}

/// Tells the service's own time-out: the rest that a last retry had would differ each time.
fn timed_out(service: &Service) -> Failure {
    Failure { reason: FailureReason::Timeout, text: format!("no answer within {:?}", service.spec.timeout) }
}

fn failure_of(error: &reqwest::Error, service: &Service) -> Failure {
    if error.is_timeout() {
        return timed_out(service);
    }
    let reason = reason_of(error);
    let what = match reason {
        FailureReason::Dns => "the name can't be resolved",
        FailureReason::Tls => "TLS failed",
        FailureReason::ConnectionRefused => "connection refused",
        FailureReason::ConnectionReset => "the connection was closed without an answer",
        FailureReason::Redirect => "too many redirects",
        FailureReason::Ours => "we could not ask",
        FailureReason::Protocol => "the answer is not HTTP",
        _ => "it can't be reached",
    };
    // The innermost cause says most, and unlike reqwest's own text it never holds the URL.
    let text = match innermost(error) {
        Some(cause) if !cause.eq_ignore_ascii_case(what) && reason != FailureReason::ConnectionRefused => {
            format!("{what}: {cause}")
        }
        _ => what.to_owned(),
    };
    let text = match redirected_to(error, service) {
        Some(host) => format!("{text} (redirected to {host})"),
        None => text,
    };
    Failure { reason, text }
}

/// The other host that failed, when the service sent us there.
fn redirected_to(error: &reqwest::Error, service: &Service) -> Option<String> {
    let asked = reqwest::Url::parse(&service.spec.target).ok()?;
    let failed = error.url()?;
    let place = |url: &reqwest::Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
    (place(failed) != place(&asked)).then(|| failed.host_str().unwrap_or_default().to_owned())
}

fn reason_of(error: &reqwest::Error) -> FailureReason {
    if error.is_redirect() {
        return FailureReason::Redirect;
    }
    let mut reason = if error.is_connect() { FailureReason::Connect } else { FailureReason::Protocol };
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = next {
        if cause.is::<rustls::Error>() {
            return FailureReason::Tls;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                return FailureReason::Tls;
            }
            if error.raw_os_error().is_some_and(|code| OURS.contains(&code)) {
                return FailureReason::Ours;
            }
            reason = match error.kind() {
                io::ErrorKind::ConnectionRefused => FailureReason::ConnectionRefused,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => FailureReason::ConnectionReset,
                io::ErrorKind::TimedOut => FailureReason::Timeout,
                _ => reason,
            };
        }
        if is_dns(cause) {
            reason = FailureReason::Dns;
        }
        next = cause.source();
    }
    if reason == FailureReason::Protocol && hung_up(error) { FailureReason::ConnectionReset } else { reason }
}

/// The system's resolver reports through an `io::Error` of no kind of its own; hyper wraps it in a "dns error".
fn is_dns(cause: &(dyn Error + 'static)) -> bool {
    cause.to_string().starts_with("dns error")
}

/// hyper's own words for a peer that closed the connection before its answer was complete.
fn hung_up(error: &reqwest::Error) -> bool {
    innermost(error).is_some_and(|cause| cause.contains("connection closed before message completed"))
}

fn innermost(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}

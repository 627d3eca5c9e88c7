//! One attempt of any kind, with a deadline. What was measured before the deadline is kept.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use shared::model::{FailureReason, Kind, Verdict, text::first_chars};
use shared::store::probing::ClaimedService;
use tokio::time::Instant;

use super::{Failure, Outcome, Tools, dns, heartbeat, http, postgres, tcp, tls};
use crate::conditions::{Answer, Broken, Conditions};
use crate::net::phases::Trace;

/// A failure's text is cut to this length.
const TEXT_CHARS: usize = 1_000;

/// A timer that fires so late: this process was too busy to say whether an answer came in time.
const OVERSLEPT: Duration = Duration::from_millis(250);

/// The result of an attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) verdict: Verdict,
    pub(super) failure: Option<Failure>,
    progress: Progress,
    response_time: Duration,
}

/// Measurements of an attempt that may be cut off at its deadline.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) trace: Trace,
    pub(super) http_status: Option<u16>,
    pub(super) certificate_expires_at: Option<DateTime<Utc>>,
    pub(super) measurements: Option<Value>,
    pub(super) captured: Option<Value>,
    /// When it had answered; none = not yet.
    pub(super) answered: Option<Instant>,
}

/// The input of one attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) tools: &'a Tools,
    pub(super) claimed: &'a ClaimedService,
    pub(super) conditions: &'a Conditions,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    pub(super) now: DateTime<Utc>,
}

impl Context<'_> {
    /// Checks all conditions against an answer that contains no secrets.
    pub(super) fn hold(&self, answer: &Answer<'_>) -> Result<(), Problem> {
        match self.conditions.first_broken(answer) {
            Some(broken) => Err(self.broken(broken, |seen| seen).into()),
            None => Ok(()),
        }
    }

    /// The failure of a condition, with secrets removed.
    pub(super) fn broken(&self, broken: Broken<'_>, hide: impl FnOnce(String) -> String) -> Failure {
        let redacted = |seen| self.tools.redactor.text(&hide(seen)).into_owned();
        Failure::new(FailureReason::Condition, broken.describe(redacted))
    }

    /// Time until the certificates expire, if known.
    pub(super) fn certificate_left(&self, progress: &Progress) -> Option<TimeDelta> {
        progress.certificate_expires_at.map(|ends| ends - self.now)
    }
}

/// Why a target is not healthy.
#[derive(Debug)]
pub(super) enum Problem {
    /// It fails.
    Failed(Failure),
    /// It answers, but slowly or beyond a limit.
    Degraded(Failure),
}

impl<T: Into<Failure>> From<T> for Problem {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

impl Attempt {
    pub(super) fn timed_out(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::Timeout)
    }

    pub(super) fn into_outcome(self, attempts: usize, checked_at: DateTime<Utc>) -> Outcome {
        Outcome {
            verdict: self.verdict,
            failure: self.failure,
            http_status: self.progress.http_status,
            response_time: self.response_time,
            hops: self.progress.trace.into_hops(),
            certificate_expires_at: self.progress.certificate_expires_at,
            measurements: self.progress.measurements,
            captured: self.progress.captured,
            attempts,
            checked_at,
        }
        .storable()
    }
}

/// The timeout's failure. When the timer fired too late, the answer may have come in time: the fault is ours.
fn timed_out(timeout: Duration, deadline: Instant) -> Failure {
    let late = Instant::now().saturating_duration_since(deadline);
    if late > (timeout / 4).min(OVERSLEPT) {
        return Failure::new(FailureReason::Ours, format!("this process was busy for {late:?}"));
    }
    Failure::timed_out(timeout)
}

/// Makes one attempt.
pub(super) async fn run(tools: &Tools, claimed: &ClaimedService, timeout: Duration, now: DateTime<Utc>) -> Attempt {
    let mut progress = Progress::default();
    let started = Instant::now();
    let result = match Conditions::parse(&claimed.service.spec.check.conditions) {
        Ok(conditions) => {
            let context =
                Context { tools, claimed, conditions: &conditions, started, deadline: started + timeout, now };
            tokio::time::timeout(timeout, of_kind(context, &mut progress))
                .await
                // Names the service's own timeout: the time left for a last retry would differ each time.
                .unwrap_or_else(|_| Err(timed_out(claimed.service.spec.timeout, started + timeout).into()))
        }
        Err(error) => Err(Failure::new(FailureReason::Misconfigured, error.to_string()).into()),
    };
    let response_time = progress.answered.unwrap_or_else(Instant::now).saturating_duration_since(started);
    let result = result.and_then(|()| fast_enough(claimed, response_time));
    let (verdict, failure) = match result {
        Ok(()) => (Verdict::Healthy, None),
        Err(Problem::Degraded(failure)) => (Verdict::Degraded, Some(failure)),
        // A wrong configuration is no downtime, but has to be reported.
        Err(Problem::Failed(failure)) if failure.reason == FailureReason::Misconfigured => {
            (Verdict::Degraded, Some(failure))
        }
        Err(Problem::Failed(failure)) => (Verdict::Failed, Some(failure)),
    };
    // The text may contain the target's answer, which may be long.
    let failure = failure.map(|failure| Failure { text: first_chars(&failure.text, TEXT_CHARS).to_owned(), ..failure });
    Attempt { verdict, failure, progress, response_time }
}

async fn of_kind(context: Context<'_>, progress: &mut Progress) -> Result<(), Problem> {
    match context.claimed.service.spec.kind {
        Kind::Http => http::attempt(context, progress).await,
        Kind::Tcp => tcp::attempt(context, progress).await,
        Kind::Tls => tls::attempt(context, progress).await,
        Kind::Dns => dns::attempt(context, progress).await,
        Kind::Postgres => postgres::attempt(context, progress).await,
        Kind::Heartbeat => heartbeat::attempt(context),
    }
}

fn fast_enough(claimed: &ClaimedService, response_time: Duration) -> Result<(), Problem> {
    let spec = &claimed.service.spec;
    let took = response_time.as_millis();
    match spec.check.degraded_above_ms {
        Some(limit) if spec.kind != Kind::Heartbeat && took > u128::from(limit) => Err(Problem::Degraded(
            Failure::new(FailureReason::Slow, format!("answered in {took} ms, more than {limit} ms")),
        )),
        _ => Ok(()),
    }
}

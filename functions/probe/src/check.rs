//! One check: an attempt, and quick retries when it fails. A blip is no outage, a real one is known within the minute.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::model::{FailureReason, Service};
use tokio::time::{Instant, sleep};

use crate::attempt::{self, Attempt, Clients};

/// How often a failed attempt is repeated.
const RETRIES: usize = 2;

/// The pause before a retry is a tenth of the time-out, at most this.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// What a check found: its deciding attempt.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first good attempt, or the last bad one.
    pub attempt: Attempt,
    /// How many attempts were made.
    pub attempts: usize,
    /// When the check began.
    pub checked_at: DateTime<Utc>,
}

impl Outcome {
    /// What was answered, if anything.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        self.attempt.http_status
    }

    /// Whether the fault is this process's own, so that nothing is known of the service.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.attempt.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::Ours)
    }

    /// Why it failed, for a person; empty when it passed.
    #[must_use]
    pub fn failure_text(&self) -> &str {
        self.attempt.failure.as_ref().map_or("", |failure| &failure.text)
    }

    /// Whether the service answered as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.attempt.failure.is_none()
    }
}

/// Checks the service: up to three attempts, each under the service's time-out, all within twice that time.
pub async fn run(clients: &Clients, service: &Service) -> Outcome {
    let checked_at = Utc::now();
    let deadline = Instant::now() + service.spec.timeout * 2;
    let pause = (service.spec.timeout / 10).min(MAX_PAUSE);
    let mut attempt = attempt::run(clients, service, service.spec.timeout).await;
    let mut attempts = 1;
    while let Some(failure) = attempt.failure.as_ref().filter(|_| attempts <= RETRIES) {
        // One that took its whole time needs no pause: its retry gets the whole time too.
        let pause = if failure.reason == FailureReason::Timeout { Duration::ZERO } else { pause };
        let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(pause);
        // A retry that has no time to succeed would only confirm our own haste.
        if left < service.spec.timeout / 4 {
            break;
        }
        sleep(pause).await;
        attempt = attempt::run(clients, service, service.spec.timeout.min(left)).await;
        attempts += 1;
    }
    Outcome { attempt, attempts, checked_at }
}

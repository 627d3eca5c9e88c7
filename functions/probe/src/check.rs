//! One check: an attempt, and quick retries when it fails. A blip is no outage, a real one is known within the minute.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::model::Service;
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

    /// Whether the service answered as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.attempt.failure.is_none()
    }
}

/// Checks the service: up to three attempts, each under the service's time-out, all within twice that time.
pub async fn run(clients: &Clients, service: &Service) -> Outcome {
    let checked_at = Utc::now();
    let deadline = Instant::now() + service.timeout * 2;
    let pause = (service.timeout / 10).min(MAX_PAUSE);
    let mut attempt = attempt::run(clients, service, service.timeout).await;
    let mut attempts = 1;
    while attempt.failure.is_some() && attempts <= RETRIES {
        let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(pause);
        // A retry that has no time to succeed would only confirm our own haste.
        if left < service.timeout / 4 {
            break;
        }
        sleep(pause).await;
        attempt = attempt::run(clients, service, service.timeout.min(left)).await;
        attempts += 1;
    }
    Outcome { attempt, attempts, checked_at }
}

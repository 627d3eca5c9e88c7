//! The route of the older `WebHooks` plugin, which signs nothing: a secret in the path authenticates it, and a rate
//! limit per process bounds the damage if the path leaks through a log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use shared::http::{ApiError, read_body, read_json};
use shared::security::SecurityKind;
use shared::store::lifecycle;
use subtle::ConstantTimeEq as _;

use crate::refusal::WebhookRefusal;
use crate::resource::legacy::Legacy;
use crate::{App, answers};

/// The rate limit of one process. The plugin sends a delivery per alert, not per error.
pub const PER_MINUTE: u32 = 60;

const MINUTE: TimeDelta = TimeDelta::minutes(1);

impl App {
    /// Handles an unsigned delivery. An event that was received signed already is not counted again. The reverse does
    /// not hold: an unsigned delivery must not deduplicate a signed one.
    pub(crate) async fn take_legacy(
        &self,
        secret: Option<String>,
        body: Body,
        now: DateTime<Utc>,
    ) -> Result<Response, WebhookRefusal> {
        self.check_secret(secret.map(SecretString::from).as_ref())?;
        self.legacy_limit.take(now).map_err(WebhookRefusal::too_many)?;
        let delivery = Legacy::new(read_json(&read_body(body).await?)?)?;
        self.deps.counters.count("sentry", "legacy", now).await;
        if self.is_own(delivery.project()) {
            return Ok(answers::ignored(answers::OWN_PROJECT));
        }
        if let Some(key) = &delivery.signed_key() {
            let budget = self.deps.intake.store_budget();
            let known =
                self.deps.store.run_within(budget, |client| async move { lifecycle::find_earlier(&client, key).await });
            let known = known.await;
            // If the database is unavailable, the intake defers the report.
            if let Ok(Some(_)) = known {
                return Ok(answers::ignored("this event was received signed already"));
            }
        }
        self.record(delivery.report(now)).await
    }

    fn check_secret(&self, given: Option<&SecretString>) -> Result<(), WebhookRefusal> {
        let Some(secret) = &self.config.legacy_secret else {
            tracing::warn!("refused an unsigned webhook: SENTRY_LEGACY_SECRET is not set");
            return Err(ApiError::unauthorized("unsigned webhooks are closed: no SENTRY_LEGACY_SECRET is set").into());
        };
        let given = given.map(|given| given.expose_secret().as_bytes()).unwrap_or_default();
        if bool::from(given.ct_eq(secret.expose_secret().as_bytes())) {
            return Ok(());
        }
        Err(WebhookRefusal::suspicious(SecurityKind::WrongKey, "the secret in the path is wrong"))
    }
}

/// A rate limit with a fixed window of a minute.
#[derive(Debug, Default)]
pub struct RateLimit {
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began: DateTime<Utc>,
    taken: u32,
}

impl RateLimit {
    /// Counts a delivery.
    ///
    /// # Errors
    /// How long to wait when the limit is reached.
    pub fn take(&self, now: DateTime<Utc>) -> Result<(), Duration> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back starts a new window too.
        if now < window.began || now - window.began >= MINUTE {
            *window = Window { began: now, taken: 0 };
        }
        if window.taken >= PER_MINUTE {
            return Err((window.began + MINUTE - now).to_std().unwrap_or_default());
        }
        window.taken += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_above_the_rate_limit_get_the_time_of_a_retry() {
        let (limit, start) = (RateLimit::default(), DateTime::UNIX_EPOCH + TimeDelta::days(1));
        for _ in 0..PER_MINUTE {
            assert_eq!(limit.take(start), Ok(()));
        }
        assert_eq!(limit.take(start + TimeDelta::seconds(20)), Err(Duration::from_secs(40)));
        assert_eq!(limit.take(start + MINUTE), Ok(()));
        assert_eq!(limit.take(start), Ok(()), "the clock was set back");
    }
}

//! The way in of the older `WebHooks` plugin, which signs nothing: a secret in the path, and so many deliveries a
//! minute in one process, since a path is written into logs and may leak.

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

use crate::refusal::Refusal;
use crate::resource::legacy::Legacy;
use crate::{App, answers};

/// Deliveries that one process takes in a minute. The plugin sends one for each alert, not for each error.
pub const PER_MINUTE: u32 = 60;

const MINUTE: TimeDelta = TimeDelta::minutes(1);

impl App {
    /// Takes an unsigned delivery. An event that came signed already is not counted again; one that comes signed
    /// later is, because what nobody has signed must not take its place.
    pub(crate) async fn take_legacy(
        &self,
        secret: Option<String>,
        body: Body,
        now: DateTime<Utc>,
    ) -> Result<Response, Refusal> {
        self.check_secret(secret.map(SecretString::from).as_ref())?;
        self.legacy_budget.take(now).map_err(Refusal::too_many)?;
        let delivery = Legacy::new(read_json(&read_body(body).await?)?)?;
        self.means.counters.count("sentry", "legacy", now).await;
        if self.is_own(delivery.project()) {
            return Ok(answers::ignored(answers::OWN_PROJECT));
        }
        if let Some(key) = &delivery.signed_key() {
            let budget = self.means.intake.store_budget();
            let known = self
                .means
                .store
                .run_within(budget, |client| async move { lifecycle::find_earlier(&client, key).await });
            let known = known.await;
            // When the database can't tell, the intake knows what to do.
            if let Ok(Some(_)) = known {
                return Ok(answers::ignored("this event came signed already"));
            }
        }
        self.record(delivery.report(now)).await
    }

    fn check_secret(&self, given: Option<&SecretString>) -> Result<(), Refusal> {
        let Some(secret) = &self.config.legacy_secret else {
            tracing::warn!("refused an unsigned webhook: SENTRY_LEGACY_SECRET is not set");
            return Err(ApiError::unauthorized("unsigned webhooks are closed: no SENTRY_LEGACY_SECRET is set").into());
        };
        let given = given.map(|given| given.expose_secret().as_bytes()).unwrap_or_default();
        if bool::from(given.ct_eq(secret.expose_secret().as_bytes())) {
            return Ok(());
        }
        Err(Refusal::suspicious(SecurityKind::WrongKey, "the secret in the path is wrong"))
    }
}

/// How many deliveries may still come in this minute.
#[derive(Debug, Default)]
pub struct Budget {
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began: DateTime<Utc>,
    taken: u32,
}

impl Budget {
    /// Takes one of them.
    ///
    /// # Errors
    /// How long to wait, when there are none left.
    pub fn take(&self, now: DateTime<Utc>) -> Result<(), Duration> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins a new minute too.
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
    fn so_many_pass_in_a_minute_and_the_rest_is_told_when_to_come_again() {
        let (budget, start) = (Budget::default(), DateTime::UNIX_EPOCH + TimeDelta::days(1));
        for _ in 0..PER_MINUTE {
            assert_eq!(budget.take(start), Ok(()));
        }
        assert_eq!(budget.take(start + TimeDelta::seconds(20)), Err(Duration::from_secs(40)));
        assert_eq!(budget.take(start + MINUTE), Ok(()));
        assert_eq!(budget.take(start), Ok(()), "the clock was set back");
    }
}

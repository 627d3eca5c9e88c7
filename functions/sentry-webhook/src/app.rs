//! What the function needs: its configuration, and the App that is built of it once per process.

use anyhow::Context as _;
use axum::http::HeaderMap;
use secrecy::SecretString;
use shared::config::{DatabaseConfig, Environment};
use shared::defer::bus::BusDeferral;
use shared::http::ApiError;
use shared::intake::{Intake, IntakeConfig};
use shared::publish::{BusConfig, Publisher};
use shared::store::{PoolSize, Store};

use crate::signature::{self, SignatureError};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where reports are stored.
    pub database: DatabaseConfig,
    /// Who is told of new incidents, and keeps reports while the database is away.
    pub bus: BusConfig,
    /// How reports are taken in.
    pub intake: IntakeConfig,
    /// Who may report.
    pub sentry: SentryConfig,
}

/// What is known of Sentry.
#[derive(Debug, Clone, Default)]
pub struct SentryConfig {
    /// `SENTRY_CLIENT_SECRET`: the integration's; without it the function is closed.
    pub client_secret: Option<SecretString>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            intake: IntakeConfig::read(environment),
            sentry: SentryConfig::read(environment),
        }
    }
}

impl SentryConfig {
    /// Reads `SENTRY_CLIENT_SECRET`.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { client_secret: environment.secret("SENTRY_CLIENT_SECRET") }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) intake: Intake,
    client_secret: Option<SecretString>,
}

impl App {
    /// The App of a Lambda environment: a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-sentry-webhook", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        let intake = BusDeferral::attach(Intake::new(store, publisher.clone(), config.intake), publisher.bus());
        Ok(Self::new(intake, config.sentry))
    }

    /// An App on an intake that is there already.
    #[must_use]
    pub fn new(intake: Intake, config: SentryConfig) -> Self {
        Self { intake, client_secret: config.client_secret }
    }

    /// Lets pass what Sentry has signed.
    pub(crate) fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
        let Some(secret) = &self.client_secret else {
            tracing::error!("refused a webhook: SENTRY_CLIENT_SECRET is not set, so nothing can be verified");
            return Err(ApiError::unauthorized("webhooks are closed: this server has no SENTRY_CLIENT_SECRET"));
        };
        signature::verify(secret, headers, body).map_err(|error| {
            tracing::warn!(%error, "refused a webhook");
            ApiError::unauthorized(match error {
                SignatureError::Missing => "the header Sentry-Hook-Signature is missing",
                SignatureError::Wrong => "the signature is wrong",
            })
        })
    }

    /// Does what the first request would wait for.
    pub async fn warm_up(&self) {
        self.intake.refresh_settings().await;
    }

    /// Hangs up politely: the process is about to end.
    pub fn close(&self) {
        self.intake.close();
    }
}

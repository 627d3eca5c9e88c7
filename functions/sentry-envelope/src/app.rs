//! Configuration, and the App that is built from it once per process.

use anyhow::Context as _;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use shared::applications::Directory;
use shared::config::{DatabaseConfig, Environment};
use shared::counters::Counters;
use shared::defer::bus::BusDeferral;
use shared::dsn::{DsnSecret, KeyVersion, PublicKey};
use shared::http::ApiError;
use shared::intake::{Intake, IntakeConfig};
use shared::publish::{BusConfig, Publisher};
use shared::security::{SecurityKind, Watch};
use shared::store::{PoolSize, Store};

use crate::cors::Readers;
use crate::decoding::Decoding;
use crate::refusal::Refusal;

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where reports are stored.
    pub database: DatabaseConfig,
    /// The bus for events of new incidents, and for reports that are deferred while the database is unavailable.
    pub bus: BusConfig,
    /// How reports are recorded.
    pub intake: IntakeConfig,
    /// `DSN_SECRET`: the secret that DSN keys are derived from; without it all requests are refused.
    pub dsn_secret: Option<DsnSecret>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            database: DatabaseConfig::read(environment),
            bus: BusConfig::read(environment),
            intake: IntakeConfig::read(environment),
            dsn_secret: DsnSecret::read(environment),
        }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Where reports go.
    pub intake: Intake,
    /// Where check-ins go.
    pub store: Store,
    /// Which applications may report, and their quotas.
    pub directory: Directory,
    /// Counts items that are not stored.
    pub counters: Counters,
    /// Records refused requests.
    pub watch: Watch,
    /// The secret that DSN keys are derived from; without it all requests are refused.
    pub dsn_secret: Option<DsnSecret>,
    /// Decompresses bodies.
    pub decoding: Decoding,
}

impl App {
    /// The App of a Lambda environment, with a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-sentry-envelope", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        let publisher = Publisher::new(store.clone(), config.bus);
        Ok(Self {
            intake: BusDeferral::attach(Intake::new(store.clone(), publisher.clone(), config.intake), &publisher),
            directory: Directory::new(store.clone()),
            counters: Counters::new(store.clone()),
            watch: Watch::new(store.clone()),
            store,
            dsn_secret: config.dsn_secret,
            decoding: Decoding::default(),
        })
    }

    /// Verifies the key; returns its version.
    pub(crate) fn verify(&self, key: Option<&str>, project: i64) -> Result<KeyVersion, Refusal> {
        let Some(secret) = &self.dsn_secret else {
            tracing::error!("refused an SDK's request: {} is not set, so no DSN can be verified", DsnSecret::VARIABLE);
            let why = "this server has no DSN_SECRET, so no DSN is valid";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", why).into());
        };
        let wrong = |why| Refusal::Forbidden(why, SecurityKind::WrongKey);
        let missing = "a DSN's public key is needed: in X-Sentry-Auth, or as sentry_key in the query";
        let key = key.ok_or_else(|| wrong(missing))?;
        PublicKey::verify(key, secret, project).ok_or_else(|| wrong("this key does not belong to this project"))
    }

    /// Which pages may read the answer to a request with this key.
    pub(crate) async fn readers(
        &self,
        project: i64,
        version: KeyVersion,
        headers: &HeaderMap,
        now: DateTime<Utc>,
    ) -> Result<Readers, Refusal> {
        // None: the database is unavailable. Then any page may report: losing reports would be worse.
        let application = self.directory.recognise(project, version, now).await?;
        Readers::of(headers, &application.map(|it| it.allowed_origins).unwrap_or_default())
    }

    /// Loads what the first request would wait for.
    pub async fn warm_up(&self) {
        self.intake.refresh_settings().await;
    }

    /// Flushes counters and closes the pool before the process ends.
    pub async fn close(&self) {
        self.directory.flush().await;
        self.counters.flush().await;
        self.watch.flush().await;
        self.intake.close();
    }
}

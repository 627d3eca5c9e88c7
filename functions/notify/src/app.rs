//! What the function needs: its configuration, and the App that is built of it once per process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shared::config::{DatabaseConfig, Environment};
use shared::store::{PoolSize, Store};
use tokio::sync::Semaphore;

use crate::channel::{Channels, ChannelsConfig};

/// The function's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where notifications are stored.
    pub database: DatabaseConfig,
    /// What the function itself needs.
    pub notify: NotifyConfig,
}

/// What the function needs beside the database.
#[derive(Debug, Clone, Default)]
pub struct NotifyConfig {
    /// The ways to people.
    pub channels: ChannelsConfig,
    /// `WATCHKEEPER_URL`: where this Watchkeeper answers, for the links in messages.
    pub public_url: Option<String>,
}

impl Config {
    /// Reads the configuration.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { database: DatabaseConfig::read(environment), notify: NotifyConfig::read(environment) }
    }
}

impl NotifyConfig {
    /// Reads the channels and `WATCHKEEPER_URL`.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { channels: ChannelsConfig::read(environment), public_url: environment.optional("WATCHKEEPER_URL") }
    }
}

/// Everything that notifying needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) channels: Channels,
    pub(crate) public_url: Option<String>,
    /// The most text messages of a day; none = no way to send any.
    pub(crate) sms_daily_limit: Option<u32>,
    /// So many may send what waits at a time.
    pub(crate) sending: Arc<Semaphore>,
}

/// A channel that hangs keeps one of them busy, and is left alone afterwards.
const SENDERS: usize = 4;

impl App {
    /// The App of a Lambda environment: a pool of its own.
    ///
    /// # Errors
    /// When the connection string can't be used, or no client can be set up.
    pub fn for_lambda(config: Config) -> anyhow::Result<Self> {
        let store = Store::new(&config.database, "watchkeeper-notify", PoolSize::LAMBDA)
            .context("DATABASE_URL can't be used")?;
        Self::new(store, config.notify)
    }

    /// An App on a store that is there already.
    ///
    /// # Errors
    /// When no client can be set up.
    pub fn new(store: Store, config: NotifyConfig) -> anyhow::Result<Self> {
        let sms_daily_limit = config.channels.sms.as_ref().map(|sms| sms.daily_limit);
        Ok(Self {
            store,
            channels: Channels::new(config.channels)?,
            public_url: config.public_url,
            sms_daily_limit,
            sending: Arc::new(Semaphore::new(SENDERS)),
        })
    }

    /// Waits at most so long for running deliveries ([`crate::send_waiting`]), and starts no other: what is cut off
    /// between sending and recording is sent again.
    pub async fn stop_sending(&self, patience: Duration) {
        let all = u32::try_from(SENDERS).unwrap_or(u32::MAX);
        if tokio::time::timeout(patience, self.sending.acquire_many(all)).await.is_err() {
            tracing::warn!("a message was still on its way and may come twice");
        }
        self.sending.close();
    }

    /// Hangs up politely: the process is about to end.
    pub fn close(&self) {
        self.store.close();
    }
}

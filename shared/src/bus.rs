//! The bus: what has happened goes there, and from there to whoever has a rule for it.
//!
//! - `event_bridge`: AWS's bus, behind its SDK. The local stack has one of its own, which is given to [`Bus::over`].
//!
//! Users: `publish` (events of the outbox), `defer` (reports while the database is away), the local stack.

mod event_bridge;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Environment;

pub use event_bridge::AwsConfig;
use event_bridge::EventBridge;

/// Where events go.
#[derive(Debug, Clone)]
pub struct BusConfig {
    /// `EVENT_BUS_NAME`; none = there is no bus.
    pub event_bus_name: Option<String>,
    /// `PUBLISH_BUDGET_MS`: how long a caller waits for its events to be told, at most.
    pub publish_budget: Duration,
    /// Who we are to AWS, and where.
    pub aws: AwsConfig,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self { event_bus_name: None, publish_budget: Duration::from_millis(200), aws: AwsConfig::default() }
    }
}

impl BusConfig {
    /// Reads `EVENT_BUS_NAME`, `PUBLISH_BUDGET_MS` and AWS's own variables, without which no bus can be reached.
    #[must_use]
    pub fn read(environment: &mut Environment<'_>) -> Self {
        let Self { publish_budget, .. } = Self::default();
        let (event_bus_name, aws) = (environment.optional("EVENT_BUS_NAME"), AwsConfig::read(environment));
        if event_bus_name.is_some() && !aws.is_complete() {
            let needed = "needs AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (Lambda sets them)";
            environment.problem("EVENT_BUS_NAME", needed);
        }
        Self { event_bus_name, aws, publish_budget: environment.milliseconds("PUBLISH_BUDGET_MS", publish_budget) }
    }
}

/// What carries events. It takes at most [`Bus::ENTRIES`] of at most [`Bus::BYTES`] at a time.
pub trait Transport: Send + Sync {
    /// Takes events, and says of each whether it was taken: it is kept then until all who want it have it.
    ///
    /// # Errors
    /// When none was taken, as far as is known.
    fn put<'a>(
        &'a self,
        entries: &'a [Entry],
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Taken>, BusError>> + Send + 'a>>;

    /// Whether it has answered this process before, so that a connection and credentials are there.
    fn is_warm(&self) -> bool;
}

/// A bus of events. Clones share one client.
#[derive(Clone)]
pub struct Bus(Arc<dyn Transport>);

/// What is put on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The event's name.
    pub detail_type: String,
    /// What a consumer reads: JSON.
    pub detail: String,
}

impl Entry {
    /// What counts against the bus's limit, as AWS counts it: source, name and detail.
    #[must_use]
    pub fn bytes(&self) -> usize {
        Bus::SOURCE.len() + self.detail_type.len() + self.detail.len()
    }
}

/// What became of an entry: `Err` with the bus's reason.
pub type Taken = Result<(), String>;

/// Why the bus took nothing.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It may have taken them all the same.
    #[error("the bus did not answer in time")]
    Timeout,
    /// It says so, or it can't be reached.
    #[error("the bus refused: {0}")]
    Refused(String),
}

impl Bus {
    /// `PutEvents` takes this many entries at a time …
    pub const ENTRIES: usize = 10;
    /// … that have less than this together.
    pub const BYTES: usize = 256 * 1024;
    /// What we are called on the bus.
    pub const SOURCE: &str = "watchkeeper";

    /// The bus of this name, if one is configured. Region, credentials and endpoint come from the environment, as AWS
    /// sets it.
    #[must_use]
    pub fn new(config: BusConfig) -> Option<Self> {
        Some(Self::over(EventBridge::new(config.event_bus_name?, config.aws)))
    }

    /// The bus of this name, behind a client that is there already.
    #[must_use]
    pub fn with_client(name: &str, client: aws_sdk_eventbridge::Client) -> Self {
        Self::over(EventBridge::with_client(name, client))
    }

    /// A bus that is carried by something else.
    #[must_use]
    pub fn over(transport: impl Transport + 'static) -> Self {
        Self(Arc::new(transport))
    }

    /// Whether it has answered this process before, so that a connection and credentials are there.
    pub(crate) fn is_warm(&self) -> bool {
        self.0.is_warm()
    }

    /// Puts at most [`Self::ENTRIES`] on it. After a time-out the bus may have taken them all the same.
    pub(crate) async fn put(&self, entries: &[Entry], patience: Duration) -> Result<Vec<Taken>, BusError> {
        let late = Err(BusError::Timeout);
        // With no time left nothing is sent that would be taken for not sent.
        if patience.is_zero() {
            late
        } else {
            tokio::time::timeout(patience, self.0.put(entries)).await.unwrap_or(late)
        }
    }
}

//! The event bus: publishers put events on it, rules route them to consumers.
//!
//! - `event_bridge`: AWS's bus, behind its SDK. The local stack passes its own to [`Bus::over`].
//!
//! Users: `publish` (events of the outbox), `defer` (reports while the database is unavailable), the local stack.

mod event_bridge;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Environment;

pub use event_bridge::AwsConfig;
use event_bridge::EventBridge;

/// The configuration of the bus.
#[derive(Debug, Clone)]
pub struct BusConfig {
    /// `EVENT_BUS_NAME`; none = there is no bus.
    pub event_bus_name: Option<String>,
    /// `PUBLISH_BUDGET_MS`: the longest that a caller waits for its events to be published.
    pub publish_budget: Duration,
    /// AWS credentials, region and endpoint.
    pub aws: AwsConfig,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self { event_bus_name: None, publish_budget: Duration::from_millis(200), aws: AwsConfig::default() }
    }
}

impl BusConfig {
    /// Reads `EVENT_BUS_NAME`, `PUBLISH_BUDGET_MS` and AWS's own variables, which a bus requires.
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

/// An implementation of the bus. One request takes at most [`Bus::ENTRIES`] entries and [`Bus::BYTES`] bytes.
pub trait Transport: Send + Sync {
    /// Puts events, with a result for each: an accepted event is stored until every consumer has it.
    ///
    /// # Errors
    /// When, as far as is known, none was accepted.
    fn put<'a>(
        &'a self,
        entries: &'a [Entry],
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Taken>, BusError>> + Send + 'a>>;

    /// Whether it has answered this process before, so that connection and credentials exist.
    fn is_warm(&self) -> bool;
}

/// The event bus. Clones share one client.
#[derive(Clone)]
pub struct Bus(Arc<dyn Transport>);

/// One event to put on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The event's name.
    pub detail_type: String,
    /// The payload for consumers: JSON.
    pub detail: String,
}

impl Entry {
    /// Its size against the bus's limit, as AWS counts it: source, name and detail.
    #[must_use]
    pub fn bytes(&self) -> usize {
        Bus::SOURCE.len() + self.detail_type.len() + self.detail.len()
    }
}

/// The result of an entry: `Err` with the bus's reason.
pub type Taken = Result<(), String>;

/// Why the bus accepted nothing.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The bus may have accepted the events nevertheless.
    #[error("the bus did not answer in time")]
    Timeout,
    /// The bus refused the request, or can't be reached.
    #[error("the bus refused: {0}")]
    Refused(String),
}

impl Bus {
    /// The most entries of one `PutEvents` request.
    pub const ENTRIES: usize = 10;
    /// The bytes of one request must be fewer than this.
    pub const BYTES: usize = 256 * 1024;
    /// The source of our events.
    pub const SOURCE: &str = "watchkeeper";

    /// The configured bus, if any. Region, credentials and endpoint come from the environment, as Lambda sets it.
    #[must_use]
    pub fn new(config: BusConfig) -> Option<Self> {
        Some(Self::over(EventBridge::new(config.event_bus_name?, config.aws)))
    }

    /// The bus of this name, with an existing client.
    #[must_use]
    pub fn with_client(name: &str, client: aws_sdk_eventbridge::Client) -> Self {
        Self::over(EventBridge::with_client(name, client))
    }

    /// A bus with another implementation.
    #[must_use]
    pub fn over(transport: impl Transport + 'static) -> Self {
        Self(Arc::new(transport))
    }

    /// Whether it has answered this process before, so that connection and credentials exist.
    pub(crate) fn is_warm(&self) -> bool {
        self.0.is_warm()
    }

    /// Puts at most [`Self::ENTRIES`] on the bus. After a timeout the bus may have accepted them nevertheless.
    pub(crate) async fn put(&self, entries: &[Entry], timeout: Duration) -> Result<Vec<Taken>, BusError> {
        let late = Err(BusError::Timeout);
        // Without time left, nothing is sent: it would be reported as not sent.
        if timeout.is_zero() { late } else { tokio::time::timeout(timeout, self.0.put(entries)).await.unwrap_or(late) }
    }
}

//! The bus: EventBridge, one client for each process, built at first use.
//!
//! Users: `publish` (events of the outbox), `defer` (reports while the database is away).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use tokio::sync::OnceCell;

use crate::config::Environment;
use crate::store::chain;

/// A second attempt comes about this soon: a caller waits for a fraction of a second in all, the usual backoff is one.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);

/// Where events go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusConfig {
    /// `EVENT_BUS_NAME`; none = there is no bus.
    pub event_bus_name: Option<String>,
}

impl BusConfig {
    /// Reads `EVENT_BUS_NAME`.
    #[must_use]
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self { event_bus_name: environment.optional("EVENT_BUS_NAME") }
    }
}

/// A bus of events. Clones share one client.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    name: String,
    /// Built at first use: an invocation that tells nothing pays nothing for it.
    client: OnceCell<aws_sdk_eventbridge::Client>,
    has_answered: AtomicBool,
}

/// What is put on the bus.
pub(crate) struct Entry<'a> {
    /// The event's name.
    pub(crate) detail_type: &'a str,
    /// What a consumer reads: JSON.
    pub(crate) detail: String,
}

/// What became of an entry: `Err` with the bus's reason.
pub(crate) type Taken = Result<(), String>;

/// Why the bus took nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    #[error("the bus did not answer in time")]
    Timeout,
    #[error("the bus refused: {0}")]
    Refused(String),
}

impl Bus {
    /// `PutEvents` takes this many entries at a time.
    pub(crate) const ENTRIES: usize = 10;
    /// What we are called on the bus.
    const SOURCE: &str = "watchkeeper";

    /// The bus of this name, if one is configured. Region, credentials and endpoint come from the environment, as AWS
    /// sets it.
    #[must_use]
    pub fn new(config: BusConfig) -> Option<Self> {
        Some(Self::of(config.event_bus_name?, OnceCell::new()))
    }

    /// The bus of this name, behind a client that is there already.
    #[must_use]
    pub fn with_client(name: &str, client: aws_sdk_eventbridge::Client) -> Self {
        Self::of(name.to_owned(), OnceCell::new_with(Some(client)))
    }

    fn of(name: String, client: OnceCell<aws_sdk_eventbridge::Client>) -> Self {
        Self(Arc::new(Inner { name, client, has_answered: AtomicBool::new(false) }))
    }

    /// Whether it has answered this process before, so that a connection and credentials are there.
    pub(crate) fn is_warm(&self) -> bool {
        self.0.has_answered.load(Ordering::Relaxed)
    }

    /// One `PutEvents` of at most [`Self::ENTRIES`]: it answers 200 even when entries fail, so each entry's own result
    /// is read. After a time-out the bus may have taken them all the same.
    pub(crate) async fn put(&self, entries: Vec<Entry<'_>>, patience: Duration) -> Result<Vec<Taken>, BusError> {
        let late = Err(BusError::Timeout);
        // With no time left nothing is sent that would be taken for not sent.
        if patience.is_zero() { late } else { tokio::time::timeout(patience, self.send(entries)).await.unwrap_or(late) }
    }

    async fn send(&self, entries: Vec<Entry<'_>>) -> Result<Vec<Taken>, BusError> {
        let client = self.0.client.get_or_init(connect).await;
        let sent = entries.len();
        let entries = entries.into_iter().map(|entry| {
            aws_sdk_eventbridge::types::PutEventsRequestEntry::builder()
                .event_bus_name(&self.0.name)
                .source(Self::SOURCE)
                .detail_type(entry.detail_type)
                .detail(entry.detail)
                .build()
        });
        let answer = client
            .put_events()
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|error| BusError::Refused(chain(&error)))?;
        self.0.has_answered.store(true, Ordering::Relaxed);
        if answer.entries().len() != sent {
            return Err(BusError::Refused("it answered for another number of events".to_owned()));
        }
        let taken = answer.entries().iter().map(|entry| match entry.error_code() {
            Some(code) => Err(format!("{code}: {}", entry.error_message().unwrap_or("no reason given"))),
            None => Ok(()),
        });
        Ok(taken.collect())
    }
}

async fn connect() -> aws_sdk_eventbridge::Client {
    let retries = RetryConfig::standard().with_initial_backoff(FIRST_BACKOFF);
    aws_sdk_eventbridge::Client::new(&aws_config::from_env().retry_config(retries).load().await)
}

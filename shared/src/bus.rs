//! The bus: EventBridge, one client for each process, built at first use.
//!
//! Users: `publish` (events of the outbox), `defer` (reports while the database is away).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::config::{BehaviorVersion, Credentials, Region};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Environment;
use crate::store::chain;

/// A second attempt comes about this soon: a caller waits for a fraction of a second in all, the usual backoff is one.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);

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

/// Who we are to AWS, and where, as Lambda's environment tells it. The whole chain of the AWS crates (profiles, SSO,
/// metadata services) would be a third of a megabyte in each function, and no function has any other source.
#[derive(Debug, Clone, Default)]
pub struct AwsConfig {
    /// `AWS_REGION`.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL`: another place than AWS's own, such as an emulator.
    pub endpoint_url: Option<String>,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<SecretString>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<SecretString>,
}

impl AwsConfig {
    fn read(environment: &Environment<'_>) -> Self {
        Self {
            region: environment.optional("AWS_REGION"),
            endpoint_url: environment.optional("AWS_ENDPOINT_URL"),
            access_key_id: environment.optional("AWS_ACCESS_KEY_ID"),
            secret_access_key: environment.secret("AWS_SECRET_ACCESS_KEY"),
            session_token: environment.secret("AWS_SESSION_TOKEN"),
        }
    }

    fn is_complete(&self) -> bool {
        self.region.is_some() && self.access_key_id.is_some() && self.secret_access_key.is_some()
    }

    fn client(&self) -> aws_sdk_eventbridge::Client {
        let secret = |value: &Option<SecretString>| value.as_ref().map(|it| it.expose_secret().to_owned());
        let credentials = Credentials::new(
            self.access_key_id.clone().unwrap_or_default(),
            secret(&self.secret_access_key).unwrap_or_default(),
            secret(&self.session_token),
            None,
            "environment",
        );
        let mut config = aws_sdk_eventbridge::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_initial_backoff(FIRST_BACKOFF))
            .region(self.region.clone().map(Region::new))
            .credentials_provider(credentials);
        config.set_endpoint_url(self.endpoint_url.clone());
        aws_sdk_eventbridge::Client::from_conf(config.build())
    }
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

/// A bus of events. Clones share one client.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    name: String,
    aws: AwsConfig,
    /// Built at first use: an invocation that tells nothing pays nothing for it.
    client: OnceLock<aws_sdk_eventbridge::Client>,
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
        Some(Self::of(config.event_bus_name?, config.aws, OnceLock::new()))
    }

    /// The bus of this name, behind a client that is there already.
    #[must_use]
    pub fn with_client(name: &str, client: aws_sdk_eventbridge::Client) -> Self {
        Self::of(name.to_owned(), AwsConfig::default(), OnceLock::from(client))
    }

    fn of(name: String, aws: AwsConfig, client: OnceLock<aws_sdk_eventbridge::Client>) -> Self {
        Self(Arc::new(Inner { name, aws, client, has_answered: AtomicBool::new(false) }))
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
        let client = self.0.client.get_or_init(|| self.0.aws.client());
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

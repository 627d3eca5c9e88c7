//! The bus on EventBridge: one client for each process, built at first use.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::config::{BehaviorVersion, Credentials, Region};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Bus, BusError, Entry, Taken, Transport};
use crate::config::Environment;
use crate::store::chain;

/// The initial back-off of a retry: callers wait for a fraction of a second in all, and the SDK's default is a second.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);

/// AWS credentials, region and endpoint from Lambda's environment. The credentials chain of the AWS crates (profiles,
/// SSO, metadata services) would add a third of a megabyte to each function, and no function has any other source.
#[derive(Debug, Clone, Default)]
pub struct AwsConfig {
    /// `AWS_REGION`.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL`: another endpoint than AWS's, such as an emulator.
    pub endpoint_url: Option<String>,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<SecretString>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<SecretString>,
}

impl AwsConfig {
    pub(super) fn read(environment: &Environment<'_>) -> Self {
        Self {
            region: environment.optional("AWS_REGION"),
            endpoint_url: environment.optional("AWS_ENDPOINT_URL"),
            access_key_id: environment.optional("AWS_ACCESS_KEY_ID"),
            secret_access_key: environment.secret("AWS_SECRET_ACCESS_KEY"),
            session_token: environment.secret("AWS_SESSION_TOKEN"),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
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

/// An EventBridge bus.
pub(super) struct EventBridge {
    name: String,
    aws: AwsConfig,
    /// Built at first use: an invocation that publishes nothing does not pay for it.
    client: OnceLock<aws_sdk_eventbridge::Client>,
    has_answered: AtomicBool,
}

impl EventBridge {
    pub(super) fn new(name: String, aws: AwsConfig) -> Self {
        Self { name, aws, client: OnceLock::new(), has_answered: AtomicBool::new(false) }
    }

    pub(super) fn with_client(name: &str, client: aws_sdk_eventbridge::Client) -> Self {
        Self { client: OnceLock::from(client), ..Self::new(name.to_owned(), AwsConfig::default()) }
    }

    /// One `PutEvents` request. It answers 200 even when entries fail, so each entry's result is read.
    async fn send(&self, entries: &[Entry]) -> Result<Vec<Taken>, BusError> {
        let client = self.client.get_or_init(|| self.aws.client());
        let sent = entries.len();
        let entries = entries.iter().map(|entry| {
            aws_sdk_eventbridge::types::PutEventsRequestEntry::builder()
                .event_bus_name(&self.name)
                .source(Bus::SOURCE)
                .detail_type(&entry.detail_type)
                .detail(&entry.detail)
                .build()
        });
        let answer = client
            .put_events()
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|error| BusError::Refused(chain(&error)))?;
        self.has_answered.store(true, Ordering::Relaxed);
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

impl Transport for EventBridge {
    fn put<'a>(
        &'a self,
        entries: &'a [Entry],
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Taken>, BusError>> + Send + 'a>> {
        Box::pin(self.send(entries))
    }

    fn is_warm(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }
}

//! The ways to people: one file each, behind one function. A channel gets a [`Delivery`] and says what became of it; what
//! is sent when, and how often, is decided elsewhere.

mod address;
mod config;
pub mod email;
mod http;
mod slack;
pub mod text;
pub mod webhook;
pub mod wording;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde_json::Value;
use shared::model::{Channel, Receiver};
use uuid::Uuid;

pub use self::address::Address;
pub use self::config::{ChannelsConfig, EmailConfig, EmailWay, SlackConfig, SmsConfig, WebhookConfig};
use self::http::Http;
use self::webhook::SigningKey;
use crate::notice::Notice;

/// A message on its way to one receiver.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message's own id: the same however often it is sent.
    pub id: Uuid,
    /// To whom.
    pub receiver: Receiver,
    /// Names the problem (or the group) for channels that keep track of it: the same from the first message to the last.
    pub dedup_key: String,
    /// What it says.
    pub notice: Notice,
    /// What the channel called the first message about the same, where it was sent to this receiver.
    pub earlier: Option<Value>,
}

/// A message was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// The HTTP status, where there is one.
    pub status: Option<u16>,
    /// What the channel calls the message.
    pub remote: Option<Value>,
}

/// A message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It may be later.
    #[error("{what}")]
    Later {
        /// What happened; never holds a secret.
        what: String,
        /// The HTTP status, where there was one.
        status: Option<u16>,
        /// When the channel wants to be asked again at the earliest.
        after: Option<Duration>,
    },
    /// It never will be.
    #[error("{what}")]
    Refused {
        /// What happened; never holds a secret.
        what: String,
        /// The HTTP status, where there was one.
        status: Option<u16>,
    },
    /// The environment names no such receiver.
    #[error("the environment names no {0}")]
    NotConfigured(Receiver),
}

/// The ways to people. Cheap to clone.
#[derive(Clone)]
pub struct Channels {
    http: Http,
    config: Arc<ChannelsConfig>,
}

impl Channels {
    /// The ways that this configuration opens.
    ///
    /// # Errors
    /// When no client can be set up.
    pub fn new(config: ChannelsConfig) -> anyhow::Result<Self> {
        Ok(Self { http: Http::new()?, config: Arc::new(config) })
    }

    /// Whom the environment names, for each channel that it opens; of e-mail and SMS, the single addresses. E-mail
    /// without `EMAIL_TO` is `email`: somebody else has to say to whom.
    #[must_use]
    pub fn configured(&self) -> Vec<Receiver> {
        self.config.receivers()
    }

    /// Sends a message within this time.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn send(&self, delivery: &Delivery, patience: Duration) -> Result<Sent, SendError> {
        let sending = async {
            match delivery.receiver.channel() {
                Channel::Slack => self.send_to_slack(delivery).await,
                Channel::Webhook => self.send_to_webhook(delivery).await,
                Channel::Discord | Channel::Email | Channel::Sms | Channel::PagerDuty => Err(not_configured(delivery)),
            }
        };
        tokio::time::timeout(patience, sending).await.unwrap_or_else(|_| {
            let what = format!("{} did not answer in time", delivery.receiver.channel());
            Err(SendError::Later { what, status: None, after: None })
        })
    }

    async fn send_to_slack(&self, delivery: &Delivery) -> Result<Sent, SendError> {
        match (&self.config.slack, delivery.receiver.name()) {
            (Some(SlackConfig::Webhook(address)), None) => {
                slack::send_to_webhook(&self.http, address, delivery, Utc::now()).await
            }
            _ => Err(not_configured(delivery)),
        }
    }

    async fn send_to_webhook(&self, delivery: &Delivery) -> Result<Sent, SendError> {
        let named = match delivery.receiver.name() {
            None => self.config.webhook.clone(),
            Some(name) => self.config.webhook_named(name)?,
        };
        let config = named.ok_or_else(|| not_configured(delivery))?;
        webhook::send(&self.http, &config, delivery, Utc::now()).await
    }
}

impl ChannelsConfig {
    /// The webhook of the variables that end so.
    fn webhook_named(&self, name: &str) -> Result<Option<WebhookConfig>, SendError> {
        let (url, secret) = (format!("NOTIFY_WEBHOOK_URL_{name}"), format!("NOTIFY_WEBHOOK_SECRET_{name}"));
        let unusable =
            |variable: &str, what: &str| SendError::Refused { what: format!("{variable}: {what}"), status: None };
        let Some(address) = self.address_of(&url)? else { return Ok(None) };
        let Some(key) = self.named.get(&secret) else { return Err(unusable(&secret, "it is not set")) };
        let key = SigningKey::parse(&key).map_err(|what| unusable(&secret, what))?;
        Ok(Some(WebhookConfig { url: address, key }))
    }

    /// The address in a variable.
    fn address_of(&self, variable: &str) -> Result<Option<Address>, SendError> {
        use secrecy::ExposeSecret as _;
        let Some(text) = self.named.get(variable) else { return Ok(None) };
        let parsed = Address::parse(text.expose_secret());
        parsed.map(Some).map_err(|what| SendError::Refused { what: format!("{variable}: {what}"), status: None })
    }
}

fn not_configured(delivery: &Delivery) -> SendError {
    SendError::NotConfigured(delivery.receiver.clone())
}

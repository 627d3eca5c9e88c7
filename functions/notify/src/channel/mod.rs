//! The ways to people: one file each, behind one function. A channel gets a [`Delivery`] and says what became of it; what
//! is sent when, and how often, is decided elsewhere.

mod config;
mod discord;
pub mod email;
#[cfg(test)]
mod hostile;
mod http;
mod pagerduty;
mod slack;
pub mod sms;
pub mod text;
pub mod webhook;
pub mod wording;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
pub use shared::address::Address;
use shared::model::{Channel, Receiver};
use uuid::Uuid;

pub use self::config::{ChannelsConfig, EmailConfig, EmailWay, SlackConfig, SmsConfig, WebhookConfig};
use self::http::Http;
use crate::notification::Notification;

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
    pub notification: Notification,
    /// What the channel called the newest message about the same, where it was sent to this receiver.
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
    /// without `EMAIL_TO` is `email`: its address is configured elsewhere.
    #[must_use]
    pub fn configured(&self) -> Vec<Receiver> {
        self.config.receivers()
    }

    /// The most text messages in a day.
    #[must_use]
    pub fn sms_daily_limit(&self) -> u32 {
        self.config.sms.as_ref().map_or(SmsConfig::DAILY_LIMIT, |sms| sms.daily_limit)
    }

    /// Whether a message to this receiver can be tried at all.
    #[must_use]
    pub fn reaches(&self, receiver: &Receiver) -> bool {
        let config = &self.config;
        match receiver.channel() {
            Channel::Slack => match (&config.slack, receiver.name()) {
                (Some(SlackConfig::Webhook(_)), name) => name.is_none(),
                (slack, _) => slack.is_some(),
            },
            Channel::Email => config.email.as_ref().is_some_and(|it| receiver.name().is_some() || !it.to.is_empty()),
            Channel::Sms => config.sms.as_ref().is_some_and(|it| receiver.name().is_some() || !it.to.is_empty()),
            Channel::Discord => config.discord_of(receiver.name()).is_ok_and(|it| it.is_some()),
            Channel::PagerDuty => config.pagerduty_of(receiver.name()).is_some(),
            Channel::Webhook => config.webhook_of(receiver.name()).is_ok_and(|it| it.is_some()),
        }
    }

    /// Sends a message within this time.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn send(&self, delivery: &Delivery, patience: Duration) -> Result<Sent, SendError> {
        let sending = self.send_at(delivery, Utc::now());
        tokio::time::timeout(patience, sending).await.unwrap_or_else(|_| {
            let what = format!("{} did not answer in time", delivery.receiver.channel());
            Err(SendError::Later { what, status: None, after: None })
        })
    }

    async fn send_at(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<Sent, SendError> {
        let (http, config) = (&self.http, &self.config);
        let name = delivery.receiver.name();
        match delivery.receiver.channel() {
            Channel::Slack => self.send_to_slack(delivery, now).await,
            Channel::Discord => match config.discord_of(name).map_err(unusable)? {
                Some(address) => discord::send(http, &address, delivery, now).await,
                None => Err(not_configured(delivery)),
            },
            Channel::Email => match &config.email {
                Some(email) => match addressees(name, &email.to).as_slice() {
                    [] => Err(not_configured(delivery)),
                    to => email::send(http, email, to, delivery, now).await,
                },
                None => Err(not_configured(delivery)),
            },
            Channel::Sms => match &config.sms {
                Some(sms) => match addressees(name, &sms.to).as_slice() {
                    [] => Err(not_configured(delivery)),
                    [to] => sms::send(http, sms, to, delivery, now).await,
                    // One of several may be sent and another not: each has to be a message of its own.
                    _ => Err(unusable("SMS_TO names several: each is a receiver of its own (sms:+…)".to_owned())),
                },
                None => Err(not_configured(delivery)),
            },
            Channel::PagerDuty => match config.pagerduty_of(name) {
                Some(key) => pagerduty::send(http, (&key, &config.pagerduty_api()), delivery, now).await,
                None => Err(not_configured(delivery)),
            },
            Channel::Webhook => match config.webhook_of(name).map_err(unusable)? {
                Some(webhook) => webhook::send(http, &webhook, delivery, now).await,
                None => Err(not_configured(delivery)),
            },
        }
    }

    async fn send_to_slack(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<Sent, SendError> {
        let (http, name) = (&self.http, delivery.receiver.name());
        match (&self.config.slack, name) {
            (Some(SlackConfig::Webhook(address)), None) => slack::send_to_webhook(http, address, delivery, now).await,
            (Some(SlackConfig::Bot { token, channel, api }), _) => {
                let bot = slack::Bot { http, token, api, channel: name.unwrap_or(channel), now };
                bot.send(delivery).await
            }
            _ => Err(not_configured(delivery)),
        }
    }
}

/// The one who is named, else all whom the environment names.
fn addressees(name: Option<&str>, all: &[String]) -> Vec<String> {
    name.map_or_else(|| all.to_vec(), |name| vec![name.to_owned()])
}

fn unusable(what: String) -> SendError {
    SendError::Refused { what, status: None }
}

fn not_configured(delivery: &Delivery) -> SendError {
    SendError::NotConfigured(delivery.receiver.clone())
}

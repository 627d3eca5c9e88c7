//! The ways to people: one file each, behind one function. A channel gets a [`Delivery`] and says what became of it; what
//! is sent when, and how often, is decided elsewhere.

use std::time::Duration;

use serde_json::Value;
use shared::config::Environment;
use shared::model::Receiver;
use uuid::Uuid;

use crate::notice::Notice;

/// The ways to people, as far as the environment names them.
#[derive(Debug, Clone, Default)]
pub struct ChannelsConfig {}

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
pub struct Channels {}

impl ChannelsConfig {
    /// Reads the channels' variables.
    pub fn read(_environment: &mut Environment<'_>) -> Self {
        Self {}
    }
}

impl Channels {
    /// The ways that this configuration opens.
    ///
    /// # Errors
    /// When no client can be set up.
    pub fn new(_config: ChannelsConfig) -> anyhow::Result<Self> {
        Ok(Self {})
    }

    /// Whom the environment names, for each channel that it opens; of e-mail and SMS, the single addresses.
    #[must_use]
    pub fn configured(&self) -> Vec<Receiver> {
        Vec::new()
    }

    /// Sends a message within this time.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn send(&self, delivery: &Delivery, _patience: Duration) -> Result<Sent, SendError> {
        Err(SendError::NotConfigured(delivery.receiver.clone()))
    }
}

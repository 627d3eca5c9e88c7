//! `email_tracking`: the delivery status of our e-mails, as reported by the vendor. A row is created when an e-mail is
//! sent, or by its first event, whichever comes first.
//!
//! Events arrive in any order and more than once: each is deduplicated by its key, and a status never goes back to an
//! earlier stage.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};
use crate::model::DeliveryKey;
use crate::model::text::{first_chars, storable};

/// The stage of an e-mail's delivery, in ascending order: a later stage replaces an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EmailStage {
    /// The vendor has accepted it.
    Processed,
    /// The recipient's server asks to retry later.
    Deferred,
    /// The recipient's server has accepted it.
    Delivered,
    /// The recipient has opened it.
    Opened,
    /// The recipient has followed a link in it.
    Clicked,
    /// The vendor refuses to send it.
    Dropped,
    /// The recipient's server refuses it.
    Bounced,
    /// The recipient has reported it as spam.
    Spam,
}

impl EmailStage {
    /// Every stage, in order.
    pub const ALL: [Self; 8] = [
        Self::Processed,
        Self::Deferred,
        Self::Delivered,
        Self::Opened,
        Self::Clicked,
        Self::Dropped,
        Self::Bounced,
        Self::Spam,
    ];

    /// The value in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Deferred => "deferred",
            Self::Delivered => "delivered",
            Self::Opened => "opened",
            Self::Clicked => "clicked",
            Self::Dropped => "dropped",
            Self::Bounced => "bounced",
            Self::Spam => "spam",
        }
    }
}

/// One event about an e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailEvent {
    /// The idempotency key.
    pub key: DeliveryKey,
    /// The message: `notifications.id`.
    pub email_id: Uuid,
    /// Its stage.
    pub stage: EmailStage,
    /// When.
    pub at: DateTime<Utc>,
    /// The reason given by the vendor or the recipient's server.
    pub reason: Option<String>,
}

/// The longest reason, in characters.
const REASON_CHARS: usize = 500;

/// Records these events in one statement; returns how many are new and about our notifications. A bounced or dropped
/// notification becomes failed.
///
/// # Errors
/// Any store error; then nothing is written.
pub async fn record_events(client: &Client, events: &[EmailEvent], now: DateTime<Utc>) -> Result<i64, StoreError> {
    let keys: Vec<&str> = events.iter().map(|event| event.key.as_str()).collect();
    let ids: Vec<Uuid> = events.iter().map(|event| event.email_id).collect();
    let stages: Vec<&str> = events.iter().map(|event| event.stage.as_str()).collect();
    let instants: Vec<DateTime<Utc>> = events.iter().map(|event| event.at).collect();
    let reasons: Vec<Option<String>> = events.iter().map(|event| event.reason.as_deref().map(presentable)).collect();
    let order: Vec<&str> = EmailStage::ALL.iter().map(|stage| stage.as_str()).collect();
    let rows = client
        .query_typed(
            include_str!("sql/record_email_events.sql"),
            &[
                (&keys, Type::TEXT_ARRAY),
                (&ids, Type::UUID_ARRAY),
                (&stages, Type::TEXT_ARRAY),
                (&instants, Type::TIMESTAMPTZ_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&now, Type::TIMESTAMPTZ),
                (&order, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    rows.first().map_or(Ok(0), |row| column(row, "recorded"))
}

fn presentable(reason: &str) -> String {
    first_chars(&storable(reason), REASON_CHARS).to_owned()
}

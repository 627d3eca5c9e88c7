//! `email_tracking`: what became of our e-mails, as the vendor tells it. A row is made when an e-mail is handed over, or by
//! the first event about it, whichever comes first.
//!
//! Events come in any order and more than once: each counts once, and none sets back what a later stage has told.
//!
//! Users: `email-events`.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};
use crate::model::DeliveryKey;
use crate::model::text::{first_chars, storable};

/// What happened to an e-mail, in the order in which one tells more than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EmailStage {
    /// The vendor has it.
    Processed,
    /// The other server wants it later.
    Deferred,
    /// The other server has it.
    Delivered,
    /// Somebody has looked at it.
    Opened,
    /// Somebody has followed a link in it.
    Clicked,
    /// The vendor will not send it.
    Dropped,
    /// The other server will not have it.
    Bounced,
    /// Somebody has called it spam.
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

    /// The spelling in the column.
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
    /// Recognises a redelivery.
    pub key: DeliveryKey,
    /// The message: `notifications.id`.
    pub email_id: Uuid,
    /// What happened.
    pub stage: EmailStage,
    /// When.
    pub at: DateTime<Utc>,
    /// Why, as the vendor or the other server says it.
    pub reason: Option<String>,
}

/// The longest a reason gets, in characters.
const REASON_CHARS: usize = 500;

/// Records these events, in one statement; how many of them are new and about a message of ours. A message that bounced
/// or was dropped has failed after all.
///
/// # Errors
/// Any store error; nothing is written then.
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

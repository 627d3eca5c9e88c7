//! `notify`: tells people what has happened, once.
//!
//! - Trigger: the SQS queue that the bus puts our events into, in batches; and a schedule, each minute ([`sweep`]), for what
//!   waits. The local stack sweeps each second.
//! - Guarantees: what is to be told is decided once per event, under the lock of its group, and stored as messages before
//!   any is sent; a message that a channel does not take is sent again until it does or refuses for good. After a crash
//!   between sending and recording a message may come twice, with the same dedup key.
//! - Idempotency key: (event, channel, recipient).

pub mod app;
pub mod channel;
pub mod group;
pub mod ladder;
pub mod limits;
pub mod muting;
pub mod notice;
pub mod routing;

pub use app::App;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chrono::{DateTime, Utc};

/// Tells what these events say, and names the messages of the queue that have to come again.
pub async fn handle(_app: &App, _batch: SqsEvent) -> SqsBatchResponse {
    SqsBatchResponse::default()
}

/// Tells what has waited for its time.
///
/// # Errors
/// When the database can't be used; the next sweep does the rest.
pub async fn sweep(_app: &App, _now: DateTime<Utc>) -> anyhow::Result<()> {
    Ok(())
}

//! `notification_receivers`: rate limit and health of each receiver. A run locks the receiver's row while it claims.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::model::Receiver;
use crate::store::row::column;
use crate::store::{Client, StoreError};

/// The effect of a failed attempt on its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// None: only this notification was refused.
    Unaffected,
    /// It counts as failing: the attempt failed, perhaps because of this notification.
    Failing,
    /// Back-off or rate limit: nothing is sent to it until then.
    Paused {
        /// Until when.
        until: DateTime<Utc>,
    },
}

/// The rate limit of a receiver, and its failures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReceiverState {
    /// How many notifications may be sent, as of `refilled_at`.
    pub tokens: Option<f64>,
    /// As of when.
    pub refilled_at: Option<DateTime<Utc>>,
    /// Since when notifications are throttled.
    pub throttled_since: Option<DateTime<Utc>>,
    /// How often in a row it could not be reached.
    pub failures: i32,
}

/// The receivers that have a due notification and are not paused.
///
/// # Errors
/// Any store error.
pub async fn list_due(client: &Client, now: DateTime<Utc>) -> Result<Vec<Receiver>, StoreError> {
    let sql = "
        SELECT receiver.channel || ':' || receiver.recipient AS receiver
        FROM public.notification_receivers AS receiver
        WHERE (receiver.paused_until IS NULL OR receiver.paused_until <= $1) AND EXISTS (
            SELECT FROM public.notifications AS message
            WHERE message.channel = receiver.channel AND message.recipient = receiver.recipient
                AND message.status IN ('pending', 'sending') AND message.next_attempt_at <= $1
                AND (message.claimed_until IS NULL OR message.claimed_until <= $1)
        )
        ORDER BY receiver.channel, receiver.recipient
        LIMIT 1000";
    let rows = client.query_typed(sql, &[(&now, Type::TIMESTAMPTZ)]).await?;
    let texts: Vec<&str> = rows.iter().map(|row| column(row, "receiver")).collect::<Result<_, _>>()?;
    // An invalid row of an earlier version does not block the others.
    Ok(texts.into_iter().filter_map(|text| Receiver::parse(text).ok()).collect())
}

/// Takes a receiver's lock; none: it is paused. The lock is kept only while claiming, so the wait is short, and one of two
/// concurrent runs claims what is due.
///
/// # Errors
/// Any store error.
pub async fn lock(
    transaction: &Transaction<'_>,
    receiver: &Receiver,
    now: DateTime<Utc>,
) -> Result<Option<ReceiverState>, StoreError> {
    let sql = "
        SELECT tokens, refilled_at, held_since, failures FROM public.notification_receivers
        WHERE channel = $1 AND recipient = $2 AND (paused_until IS NULL OR paused_until <= $3)
        FOR UPDATE";
    let parameters = [
        (&receiver.channel().as_str() as _, Type::TEXT),
        (&receiver.recipient() as _, Type::TEXT),
        (&now as _, Type::TIMESTAMPTZ),
    ];
    let rows = transaction.query_typed(sql, &parameters).await?;
    rows.first()
        .map(|row| {
            Ok(ReceiverState {
                tokens: column(row, "tokens")?,
                refilled_at: column(row, "refilled_at")?,
                throttled_since: column(row, "held_since")?,
                failures: column(row, "failures")?,
            })
        })
        .transpose()
}

/// Stores the rate limit of a receiver.
///
/// # Errors
/// Any store error.
pub async fn update(
    transaction: &Transaction<'_>,
    receiver: &Receiver,
    state: &ReceiverState,
) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.notification_receivers SET tokens = $3, refilled_at = $4, held_since = $5
        WHERE channel = $1 AND recipient = $2";
    let parameters = [
        (&receiver.channel().as_str() as _, Type::TEXT),
        (&receiver.recipient() as _, Type::TEXT),
        (&state.tokens as _, Type::FLOAT8),
        (&state.refilled_at as _, Type::TIMESTAMPTZ),
        (&state.throttled_since as _, Type::TIMESTAMPTZ),
    ];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Marks these receivers as configured, and the rest as not. Writes at most once a minute.
///
/// # Errors
/// Any store error.
pub async fn mark_seen(client: &Client, configured: &[Receiver], now: DateTime<Utc>) -> Result<(), StoreError> {
    let sql = "
        WITH configured AS (
            SELECT channel, recipient FROM unnest($1::text[], $2::text[]) AS named (channel, recipient)
            ORDER BY channel, recipient
        ),
        gone AS (
            UPDATE public.notification_receivers AS receiver
            SET seen_at = NULL
            WHERE receiver.seen_at < $3 - interval '10 minutes'
                AND NOT EXISTS (
                    SELECT FROM configured
                    WHERE configured.channel = receiver.channel AND configured.recipient = receiver.recipient
                )
        )
        INSERT INTO public.notification_receivers AS known (channel, recipient, seen_at)
        SELECT channel, recipient, $3 FROM configured
        ON CONFLICT (channel, recipient) DO UPDATE SET seen_at = EXCLUDED.seen_at
        WHERE known.seen_at IS NULL OR known.seen_at <= EXCLUDED.seen_at - interval '1 minute'";
    let channels: Vec<&str> = configured.iter().map(|receiver| receiver.channel().as_str()).collect();
    let recipients: Vec<&str> = configured.iter().map(Receiver::recipient).collect();
    let parameters =
        [(&channels as _, Type::TEXT_ARRAY), (&recipients as _, Type::TEXT_ARRAY), (&now as _, Type::TIMESTAMPTZ)];
    client.execute_typed(sql, &parameters).await?;
    Ok(())
}

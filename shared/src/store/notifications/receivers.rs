//! `notification_receivers`: how each receiver fares. Who sends to one holds its row's lock while it claims.

use chrono::{DateTime, Utc};
use deadpool_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::model::Receiver;
use crate::store::row::column;
use crate::store::{Client, StoreError};

/// How a receiver fares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReceiverState {
    /// How many messages may go there, as of `refilled_at`.
    pub tokens: Option<f64>,
    /// As of when.
    pub refilled_at: Option<DateTime<Utc>>,
    /// Since when messages wait because they are too many.
    pub held_since: Option<DateTime<Utc>>,
    /// How often in a row it could not be reached.
    pub failures: i32,
}

/// The receivers that something is due for, and that may be asked now.
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
    // What is no receiver any more since the rules have changed keeps the others from nothing.
    Ok(texts.into_iter().filter_map(|text| Receiver::parse(text).ok()).collect())
}

/// Takes a receiver's lock; none: it wants to be left alone. Who has it holds it only while claiming: waiting for it is short,
/// and what is due when this returns is seen by one of the two.
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
                held_since: column(row, "held_since")?,
                failures: column(row, "failures")?,
            })
        })
        .transpose()
}

/// Stores what a receiver may still get, and since when messages wait for that.
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
        (&state.held_since as _, Type::TIMESTAMPTZ),
    ];
    transaction.execute_typed(sql, &parameters).await?;
    Ok(())
}

/// Notes that these receivers are configured; the rest no longer is. Writes at most once a minute.
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

//! Heartbeats of jobs. [`super::services::apply`] stores their tokens' hashes.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::probing::Beat;
use super::row::column;
use super::{Client, StoreError};

/// All token hashes, by the name and environment of their services; at most 20,000.
///
/// # Errors
/// Any store error.
pub async fn list_token_hashes(client: &Client) -> Result<BTreeMap<(String, String), String>, StoreError> {
    let sql = "
        SELECT name::text AS name, environment, token_hash
        FROM public.service_heartbeats
        JOIN public.services ON services.id = service_id
        LIMIT 20000";
    let rows = client.query_typed(sql, &[]).await?;
    let pair = |row| Ok(((column(row, "name")?, column(row, "environment")?), column(row, "token_hash")?));
    rows.iter().map(pair).collect()
}

/// Stores a job's newest heartbeat; returns whether the token is known. Idempotent.
///
/// # Errors
/// Any store error.
pub async fn beat(client: &Client, token_hash: &str, beat: &Beat) -> Result<bool, StoreError> {
    // Of two concurrent heartbeats the later one stays.
    let sql = "
        UPDATE public.service_heartbeats
        SET
            failed = CASE WHEN beat_at > $2 THEN failed ELSE $3 END,
            message = CASE WHEN beat_at > $2 THEN message ELSE $4 END,
            beat_at = greatest(beat_at, $2)
        WHERE token_hash = $1";
    let Beat { at, failed, message } = beat;
    let changed = client
        .execute_typed(
            sql,
            &[(&token_hash, Type::TEXT), (at, Type::TIMESTAMPTZ), (failed, Type::BOOL), (message, Type::TEXT)],
        )
        .await?;
    Ok(changed > 0)
}

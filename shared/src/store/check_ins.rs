//! `check_ins`: the last sign of life of each job. Whatever the order in which they arrive, a row never goes back in time.

use tokio_postgres::types::Type;

use super::{Client, StoreError};
use crate::model::text::{first_chars, storable, storable_value};
use crate::model::{CheckIn, CheckInStatus};

/// Texts are cut to this many characters: Sentry's own slugs and environments are shorter.
const CHARS: usize = 100;

/// An SDK's schedule is a few words; what is larger is none, and is not kept.
const CONFIG_BYTES: usize = 8 * 1024;

/// An application may have this many jobs: slugs are chosen by whoever has the DSN.
const JOBS: i64 = 1_000;

/// Keeps a sign of life, and tells whether it changed anything: not if a later one is known already, nor if the
/// application does not exist or has too many jobs.
///
/// # Errors
/// Any store error.
pub async fn upsert(client: &Client, check_in: &CheckIn) -> Result<bool, StoreError> {
    let text = |text: &str| first_chars(&storable(text), CHARS).to_owned();
    let config = check_in.config.as_ref().and_then(storable_config);
    let last_ok_at = (check_in.status == CheckInStatus::Ok).then_some(check_in.received_at);
    let slug = text(&check_in.monitor_slug);
    if slug.is_empty() {
        return Ok(false);
    }
    let changed = client
        .execute_typed(
            include_str!("sql/upsert_check_in.sql"),
            &[
                (&check_in.application, Type::INT8),
                (&text(&check_in.environment), Type::TEXT),
                (&slug, Type::TEXT),
                (&text(&check_in.check_in_id), Type::TEXT),
                (&check_in.status.as_str(), Type::TEXT),
                (&check_in.duration_ms, Type::INT8),
                (&last_ok_at, Type::TIMESTAMPTZ),
                (&check_in.received_at, Type::TIMESTAMPTZ),
                (&config, Type::TEXT),
                (&JOBS, Type::INT8),
            ],
        )
        .await?;
    Ok(changed > 0)
}

/// The schedule as text without what Postgres refuses in JSON; none when it is too large.
fn storable_config(config: &serde_json::Value) -> Option<String> {
    let clean = storable_value(config.clone()).to_string();
    (clean.len() <= CONFIG_BYTES).then_some(clean)
}

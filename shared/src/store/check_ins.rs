//! `check_ins`: the newest check-in of each job. A check-in that arrives late never replaces a newer one.

use serde_json::Value;
use tokio_postgres::types::Type;

use super::{Client, StoreError};
use crate::model::text::{first_chars, storable, storable_value};
use crate::model::{CheckIn, CheckInStatus};

/// The longest text, in characters: Sentry's own slugs and environments are shorter.
const CHARS: usize = 100;

/// The largest schedule that is stored.
const CONFIG_BYTES: usize = 8 * 1024;

/// The most jobs of an application: any client that has the DSN can choose slugs.
const JOBS: i64 = 1_000;

/// Truncates the check-in to its columns, and removes what Postgres refuses.
#[must_use]
pub fn storable_check_in(check_in: CheckIn) -> CheckIn {
    let text = |text: &str| first_chars(&storable(text), CHARS).to_owned();
    CheckIn {
        environment: text(&check_in.environment),
        monitor_slug: text(&check_in.monitor_slug),
        check_in_id: text(&check_in.check_in_id),
        // An SDK's schedule is a few words; a larger value is dropped.
        config: check_in.config.map(storable_value).filter(|config| config.to_string().len() <= CONFIG_BYTES),
        ..check_in
    }
}

/// Stores a check-in; returns whether anything changed. It is ignored if a newer one is stored, or the application does
/// not exist, has too many jobs, or has a public DSN.
///
/// # Errors
/// Any store error.
pub async fn upsert(client: &Client, check_in: &CheckIn) -> Result<bool, StoreError> {
    let check_in = storable_check_in(check_in.clone());
    let config = check_in.config.as_ref().map(Value::to_string);
    let last_ok_at = (check_in.status == CheckInStatus::Ok).then_some(check_in.received_at);
    if check_in.monitor_slug.is_empty() {
        return Ok(false);
    }
    let changed = client
        .execute_typed(
            include_str!("sql/upsert_check_in.sql"),
            &[
                (&check_in.application, Type::INT8),
                (&check_in.environment, Type::TEXT),
                (&check_in.monitor_slug, Type::TEXT),
                (&check_in.check_in_id, Type::TEXT),
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

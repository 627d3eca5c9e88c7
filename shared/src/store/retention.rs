//! Which rows may be deleted when they are old enough, and the one statement that deletes them: a batch at a time, oldest
//! first, through an index on their time (published events have none, since it would be the largest of the outbox: any old
//! ones are deleted). Two at once share the work: each skips what the other has locked.
//!
//! Users: `maintain`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::Type;

use super::row::column;
use super::{Client, StoreError};

/// The most rows that one statement deletes.
pub const BATCH: u64 = 1_000;

/// Rows of one table that age.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    table: &'static str,
    /// Since when a row ages.
    time: &'static str,
    /// Which rows may go at all; `$1` is the instant before which they are old enough.
    condition: &'static str,
    /// Whether an index is on the time.
    has_index: bool,
}

/// `service_health_checks`.
pub const HEALTH_CHECKS: Rows = Rows::all("service_health_checks", "created_at");
/// `monitoring_checks`.
pub const MONITORING_CHECKS: Rows = Rows::all("monitoring_checks", "\"timestamp\"");
/// `service_hourly`.
pub const HOURLY_ROLLUPS: Rows = Rows::all("service_hourly", "hour");
/// `service_daily`.
pub const DAILY_ROLLUPS: Rows = Rows::all("service_daily", "day");
/// `security_events`.
pub const SECURITY_EVENTS: Rows = Rows::all("security_events", "\"timestamp\"");
/// `security_event_counts`.
pub const SECURITY_EVENT_COUNTS: Rows = Rows::all("security_event_counts", "starts_at");
/// `check_ins`.
pub const CHECK_INS: Rows = Rows::all("check_ins", "received_at");
/// `intake_counters`.
pub const INTAKE_COUNTERS: Rows = Rows::all("intake_counters", "hour");
/// `quota_counters`.
pub const QUOTA_COUNTERS: Rows = Rows::all("quota_counters", "window_start");
/// `inbound_deliveries` of reports: only they have a hash of their content.
pub const REPORT_KEYS: Rows = Rows::some("inbound_deliveries", "received_at", "content_hash IS NOT NULL");
/// `inbound_deliveries` of steps.
pub const STEP_KEYS: Rows = Rows::some("inbound_deliveries", "received_at", "content_hash IS NULL");
/// `event_outbox`, of what is published.
pub const PUBLISHED_EVENTS: Rows =
    Rows::some("event_outbox", "published_at", "published_at IS NOT NULL").without_index();
/// `silences` that mute no member any more.
pub const SILENCES: Rows = Rows::some(
    "silences",
    "ends_at",
    "NOT EXISTS (SELECT FROM public.notification_members WHERE muted_by = 'silence:' || silences.id)",
);
/// `notifications` that are over, of groups without members.
pub const NOTIFICATIONS: Rows = Rows::some(
    "notifications",
    "created_at",
    "status NOT IN ('pending', 'sending') AND NOT EXISTS (
        SELECT FROM public.notification_members AS member WHERE member.group_key = notifications.group_key
    )",
);
/// `notification_groups` whose members, if there are any, were all resolved before the instant, and are not muted by a
/// silence that lasted longer.
pub const NOTIFICATION_GROUPS: Rows = Rows::some(
    "notification_groups",
    "coalesce(last_told_at, first_seen_at)",
    "NOT EXISTS (
        SELECT FROM public.notification_members AS member
        WHERE member.group_key = notification_groups.group_key AND (
            member.state <> 'resolved' OR member.changed_at >= $1 OR EXISTS (
                SELECT FROM public.silences
                WHERE member.muted_by = 'silence:' || silences.id AND silences.ends_at >= $1
            )
        )
    )",
);

impl Rows {
    const fn all(table: &'static str, time: &'static str) -> Self {
        Self::some(table, time, "true")
    }

    const fn some(table: &'static str, time: &'static str, condition: &'static str) -> Self {
        Self { table, time, condition, has_index: true }
    }

    /// Without an index on their time: any old rows, so that the scan ends with the batch.
    const fn without_index(self) -> Self {
        Self { has_index: false, ..self }
    }

    /// Deletes up to [`BATCH`] rows that are older than this instant; returns how many. Fewer than a batch: none is left
    /// but what others have locked.
    ///
    /// # Errors
    /// Any store error.
    pub async fn delete_older_than(&self, client: &Client, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let Self { table, time, condition, has_index } = self;
        let order = if *has_index { format!("ORDER BY {time}") } else { String::new() };
        // By their places: a row that was changed since it was found has another one, and stays.
        let sql = format!(
            "DELETE FROM public.{table} WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM public.{table}
                WHERE {time} < $1 AND {condition}
                {order}
                LIMIT {BATCH}
                FOR UPDATE SKIP LOCKED
            ))"
        );
        Ok(client.execute_typed(&sql, &[(&before, Type::TIMESTAMPTZ)]).await?)
    }
}

/// What `system_config` says of these keys.
///
/// # Errors
/// Any store error.
pub async fn find_settings(client: &Client, keys: &[&str]) -> Result<Vec<(String, Value)>, StoreError> {
    // As text: a number that JSON allows and Rust has no type for is an invalid setting, and no error of all.
    let sql = "SELECT key::text AS key, value::text AS value FROM public.system_config WHERE key = ANY ($1)";
    let rows = client.query_typed(sql, &[(&keys, Type::TEXT_ARRAY)]).await?;
    let setting = |row| {
        let text: Option<String> = column(row, "value")?;
        Ok((column(row, "key")?, text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()))
    };
    rows.iter().map(setting).collect()
}

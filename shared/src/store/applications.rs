//! `applications`: who may report with a DSN. Configured by operators, read by [`crate::applications`].

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::row::column;
use super::{Client, StoreError};
use crate::dsn::KeyVersion;
use crate::model::{Application, ApplicationName, Limits, Quota};

/// An application as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApplication {
    /// What it is called.
    pub application: Application,
    /// Its key; earlier ones are refused.
    pub key_version: KeyVersion,
    /// Whether it was removed.
    pub removed: bool,
    /// How much it may send.
    pub limits: Limits,
}

/// An application with what it has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The application.
    pub stored: StoredApplication,
    /// Events taken in, in the window that is asked for; in the order of [`Quota::ALL`].
    pub accepted: [i64; 3],
    /// Events refused in the month.
    pub refused_in_month: i64,
}

/// The most that a list returns.
const LIMIT: i64 = 10_000;

/// An application, and what it has sent in the windows of this instant. One round trip.
///
/// # Errors
/// Any store error.
pub async fn find_usage(client: &Client, number: i64, now: DateTime<Utc>) -> Result<Option<Usage>, StoreError> {
    let sql = concat!(include_str!("sql/application_usage.sql"), "WHERE application.number = $4");
    let [burst, hour, month] = Quota::ALL.map(|quota| quota.window_start(now));
    let parameters = [
        (&burst as _, Type::TIMESTAMPTZ),
        (&hour as _, Type::TIMESTAMPTZ),
        (&month as _, Type::TIMESTAMPTZ),
        (&number as _, Type::INT8),
    ];
    client.query_typed(sql, &parameters).await?.first().map(usage_of).transpose()
}

/// The applications that are not removed, by name and environment, with what they have sent in the windows of this
/// instant; those of one name, or all.
///
/// # Errors
/// Any store error.
pub async fn list_usage(client: &Client, name: Option<&str>, now: DateTime<Utc>) -> Result<Vec<Usage>, StoreError> {
    let sql = concat!(
        include_str!("sql/application_usage.sql"),
        "WHERE application.removed_at IS NULL AND ($4::text IS NULL OR application.name = $4)
        ORDER BY application.name, application.environment NULLS FIRST
        LIMIT $5"
    );
    let [burst, hour, month] = Quota::ALL.map(|quota| quota.window_start(now));
    let parameters = [
        (&burst as _, Type::TIMESTAMPTZ),
        (&hour as _, Type::TIMESTAMPTZ),
        (&month as _, Type::TIMESTAMPTZ),
        (&name as _, Type::TEXT),
        (&LIMIT as _, Type::INT8),
    ];
    client.query_typed(sql, &parameters).await?.iter().map(usage_of).collect()
}

/// The applications of these numbers, removed ones too: their reports were taken in while they were not.
///
/// # Errors
/// Any store error.
pub async fn list_by_numbers(client: &Client, numbers: &[i64]) -> Result<Vec<Application>, StoreError> {
    let sql = "
        SELECT number, name::text AS name, environment
        FROM public.applications
        WHERE number = ANY($1)
        ORDER BY number
        LIMIT $2";
    let parameters = [(&numbers as _, Type::INT8_ARRAY), (&LIMIT as _, Type::INT8)];
    client.query_typed(sql, &parameters).await?.iter().map(application_of).collect()
}

/// Makes the application, or finds it; quotas that are given are set in both cases. Tells whether it is new.
///
/// # Errors
/// Any store error.
pub async fn upsert(
    client: &Client,
    name: &ApplicationName,
    environment: Option<&ApplicationName>,
    limits: Limits,
    now: DateTime<Utc>,
) -> Result<(StoredApplication, bool), StoreError> {
    let sql = "
        INSERT INTO public.applications AS stored
            (name, environment, quota_burst, quota_hour, quota_month, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6)
        ON CONFLICT (name, environment) WHERE removed_at IS NULL DO UPDATE SET
            quota_burst = coalesce(EXCLUDED.quota_burst, stored.quota_burst),
            quota_hour = coalesce(EXCLUDED.quota_hour, stored.quota_hour),
            quota_month = coalesce(EXCLUDED.quota_month, stored.quota_month),
            updated_at = EXCLUDED.updated_at
        RETURNING number, name::text AS name, environment, key_version, removed_at IS NOT NULL AS removed,
            quota_burst, quota_hour, quota_month, created_at = $6 AS created";
    let rows = client
        .query_typed(
            sql,
            &[
                (&name.as_str(), Type::TEXT),
                (&environment.map(ApplicationName::as_str), Type::TEXT),
                (&limits.burst, Type::INT8),
                (&limits.hour, Type::INT8),
                (&limits.month, Type::INT8),
                (&now, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("an upsert without its row".into()))?;
    Ok((stored_of(row)?, column(row, "created")?))
}

/// Sets the application's key to this version, unless it is further already; none when there is no such application.
///
/// # Errors
/// Any store error.
pub async fn raise_key_version(
    client: &Client,
    number: i64,
    version: KeyVersion,
    now: DateTime<Utc>,
) -> Result<Option<StoredApplication>, StoreError> {
    let sql = "
        UPDATE public.applications
        SET key_version = greatest(key_version, $2), updated_at = $3
        WHERE number = $1 AND removed_at IS NULL
        RETURNING number, name::text AS name, environment, key_version, removed_at IS NOT NULL AS removed,
            quota_burst, quota_hour, quota_month";
    let parameters =
        [(&number as _, Type::INT8), (&i32::from(version.0) as _, Type::INT4), (&now as _, Type::TIMESTAMPTZ)];
    client.query_typed(sql, &parameters).await?.first().map(stored_of).transpose()
}

/// Marks the application as removed: no key of it is taken any more.
///
/// # Errors
/// Any store error.
pub async fn mark_removed(client: &Client, number: i64, now: DateTime<Utc>) -> Result<(), StoreError> {
    let sql = "
        UPDATE public.applications SET removed_at = $2, updated_at = $2
        WHERE number = $1 AND removed_at IS NULL";
    client.execute_typed(sql, &[(&number, Type::INT8), (&now, Type::TIMESTAMPTZ)]).await?;
    Ok(())
}

fn usage_of(row: &Row) -> Result<Usage, StoreError> {
    Ok(Usage {
        stored: stored_of(row)?,
        accepted: [column(row, "burst_accepted")?, column(row, "hour_accepted")?, column(row, "month_accepted")?],
        refused_in_month: column(row, "month_refused")?,
    })
}

fn stored_of(row: &Row) -> Result<StoredApplication, StoreError> {
    Ok(StoredApplication {
        application: application_of(row)?,
        key_version: KeyVersion(u16::try_from(column::<i32>(row, "key_version")?).unwrap_or(u16::MAX)),
        removed: column(row, "removed")?,
        limits: Limits {
            burst: column(row, "quota_burst")?,
            hour: column(row, "quota_hour")?,
            month: column(row, "quota_month")?,
        },
    })
}

fn application_of(row: &Row) -> Result<Application, StoreError> {
    Ok(Application {
        number: column(row, "number")?,
        name: column(row, "name")?,
        environment: column(row, "environment")?,
    })
}

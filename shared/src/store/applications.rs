//! `applications`: the applications that may report with a DSN. Configured by operators, cached by
//! [`crate::applications`].

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::row::column;
use super::{Client, StoreError};
use crate::dsn::KeyVersion;
use crate::model::{
    AllowedOrigins, Application, ApplicationChanges, ApplicationName, Limits, Quota, Severity, SeverityBound,
};

/// An application as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApplication {
    /// Its name and number.
    pub application: Application,
    /// The version of its key; earlier ones are refused.
    pub key_version: KeyVersion,
    /// Whether it was removed.
    pub removed: bool,
    /// Its rate limits.
    pub limits: Limits,
    /// The highest severity of incidents that its reports open or raise; none = unbounded.
    pub max_severity: Option<Severity>,
    /// The most incidents that it may open per hour.
    pub new_incidents_per_hour: i32,
}

/// An application with its usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The application.
    pub stored: StoredApplication,
    /// Accepted events in the current window of each quota; in the order of [`Quota::ALL`].
    pub accepted: [i64; 3],
    /// Refused events of the month.
    pub refused_in_month: i64,
}

/// The longest list.
const LIMIT: i64 = 10_000;

/// An application with its usage in the windows of this instant. One round trip.
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

/// The applications that are not removed, by name and environment, with their usage in the windows of this instant;
/// those of one name, or all.
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

/// The applications of these numbers, including removed ones, whose reports may have been accepted before.
///
/// # Errors
/// Any store error.
pub async fn list_by_numbers(client: &Client, numbers: &[i64]) -> Result<Vec<Application>, StoreError> {
    let sql = "
        SELECT number, name::text AS name, environment, allowed_origins
        FROM public.applications
        WHERE number = ANY($1)
        ORDER BY number
        LIMIT $2";
    let parameters = [(&numbers as _, Type::INT8_ARRAY), (&LIMIT as _, Type::INT8)];
    client.query_typed(sql, &parameters).await?.iter().map(application_of).collect()
}

/// Creates or updates the application with these changes; returns whether it is new.
///
/// # Errors
/// Any store error.
pub async fn upsert(
    client: &Client,
    name: &ApplicationName,
    environment: Option<&ApplicationName>,
    changes: &ApplicationChanges,
    now: DateTime<Utc>,
) -> Result<(StoredApplication, bool), StoreError> {
    let sql = "
        INSERT INTO public.applications AS stored (
            name, environment, quota_burst, quota_hour, quota_month, max_severity, allowed_origins, new_incidents_per_hour,
            created_at, updated_at
        )
        VALUES ($8, $9, $1, $2, $3, $5, coalesce($6, '{}'), coalesce($7, 100), $10, $10)
        ON CONFLICT (name, environment) WHERE removed_at IS NULL DO UPDATE SET
            quota_burst = coalesce($1, stored.quota_burst),
            quota_hour = coalesce($2, stored.quota_hour),
            quota_month = coalesce($3, stored.quota_month),
            max_severity = CASE WHEN $4 THEN $5 ELSE stored.max_severity END,
            allowed_origins = coalesce($6, stored.allowed_origins),
            new_incidents_per_hour = coalesce($7, stored.new_incidents_per_hour),
            updated_at = $10
        RETURNING number, name::text AS name, environment, key_version, removed_at IS NOT NULL AS removed,
            quota_burst, quota_hour, quota_month, max_severity, allowed_origins, new_incidents_per_hour,
            created_at = $10 AS created";
    let changes = Changes::of(changes);
    let (name, environment) = (name.as_str(), environment.map(ApplicationName::as_str));
    let mut parameters = changes.parameters();
    parameters.extend([(&name as _, Type::TEXT), (&environment as _, Type::TEXT), (&now as _, Type::TIMESTAMPTZ)]);
    let rows = client.query_typed(sql, &parameters).await?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("the upsert returned no row".into()))?;
    Ok((stored_of(row)?, column(row, "created")?))
}

/// Applies the changes; none if there is no such application.
///
/// # Errors
/// Any store error.
pub async fn change(
    client: &Client,
    number: i64,
    changes: &ApplicationChanges,
    now: DateTime<Utc>,
) -> Result<Option<StoredApplication>, StoreError> {
    let sql = "
        UPDATE public.applications SET
            quota_burst = coalesce($1, quota_burst),
            quota_hour = coalesce($2, quota_hour),
            quota_month = coalesce($3, quota_month),
            max_severity = CASE WHEN $4 THEN $5 ELSE max_severity END,
            allowed_origins = coalesce($6, allowed_origins),
            new_incidents_per_hour = coalesce($7, new_incidents_per_hour),
            updated_at = $9
        WHERE number = $8 AND removed_at IS NULL
        RETURNING number, name::text AS name, environment, key_version, removed_at IS NOT NULL AS removed,
            quota_burst, quota_hour, quota_month, max_severity, allowed_origins, new_incidents_per_hour";
    let changes = Changes::of(changes);
    let mut parameters = changes.parameters();
    parameters.extend([(&number as _, Type::INT8), (&now as _, Type::TIMESTAMPTZ)]);
    client.query_typed(sql, &parameters).await?.first().map(stored_of).transpose()
}

/// Changes as the parameters $1 to $7.
struct Changes {
    limits: Limits,
    sets_max_severity: bool,
    max_severity: Option<&'static str>,
    allowed_origins: Option<Vec<String>>,
    new_incidents_per_hour: Option<i32>,
}

impl Changes {
    fn of(changes: &ApplicationChanges) -> Self {
        Self {
            limits: changes.limits,
            sets_max_severity: changes.max_severity.is_some(),
            max_severity: changes.max_severity.and_then(SeverityBound::severity).map(Severity::as_str),
            allowed_origins: changes.allowed_origins.as_ref().map(AllowedOrigins::texts),
            new_incidents_per_hour: changes.new_incidents_per_hour,
        }
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.limits.burst, Type::INT8),
            (&self.limits.hour, Type::INT8),
            (&self.limits.month, Type::INT8),
            (&self.sets_max_severity, Type::BOOL),
            (&self.max_severity, Type::TEXT),
            (&self.allowed_origins, Type::TEXT_ARRAY),
            (&self.new_incidents_per_hour, Type::INT4),
        ]
    }
}

/// Raises the application's key to this version, unless it is higher; none if there is no such application.
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
            quota_burst, quota_hour, quota_month, max_severity, allowed_origins, new_incidents_per_hour";
    let parameters =
        [(&number as _, Type::INT8), (&i32::from(version.0) as _, Type::INT4), (&now as _, Type::TIMESTAMPTZ)];
    client.query_typed(sql, &parameters).await?.first().map(stored_of).transpose()
}

/// Marks the application as removed: all its keys are refused.
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
        max_severity: column::<Option<&str>>(row, "max_severity")?.and_then(Severity::parse),
        new_incidents_per_hour: column(row, "new_incidents_per_hour")?,
    })
}

fn application_of(row: &Row) -> Result<Application, StoreError> {
    Ok(Application {
        number: column(row, "number")?,
        name: column(row, "name")?,
        environment: column(row, "environment")?,
        allowed_origins: AllowedOrigins::from_stored(&column::<Vec<String>>(row, "allowed_origins")?),
    })
}

//! `service_health_checks`: the result of each check. The probe writes its rows through [`super::checks`].

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::{column, word};
use super::{Client, StoreError};
use crate::model::{DEFAULT_ENVIRONMENT, ServiceState};

/// The default limit of a list.
pub const DEFAULT_LIMIT: u16 = 100;

/// One check. Field names are the column names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HealthCheck {
    /// The row's id.
    pub id: Uuid,
    /// The service.
    pub service_name: String,
    /// Its environment.
    pub environment: String,
    /// healthy, degraded or down.
    pub status: ServiceState,
    /// Its latency.
    pub latency_ms: Option<i32>,
    /// When the probe ran.
    pub checked_at: DateTime<Utc>,
    /// Why it failed.
    pub error_message: Option<String>,
}

/// A check to be stored.
#[derive(Debug, Clone)]
pub struct NewHealthCheck<'a> {
    /// The service; not empty.
    pub service_name: &'a str,
    /// healthy, degraded or down.
    pub status: ServiceState,
    /// Its latency.
    pub latency_ms: Option<i32>,
    /// Why it failed.
    pub error_message: Option<&'a str>,
    /// When the probe ran.
    pub checked_at: DateTime<Utc>,
}

/// Why a check can't be stored.
#[derive(Debug, thiserror::Error)]
pub enum NewHealthCheckError {
    /// The service is missing.
    #[error("service_name must not be empty")]
    NoServiceName,
    /// `unknown` is no result of a check.
    #[error("status must be healthy, degraded or down")]
    NoResult,
    /// The database refused it.
    #[error("the health check could not be stored")]
    Store(#[from] StoreError),
}

const COLUMNS: &str =
    "id, service_name::text AS service_name, environment, status, latency_ms, checked_at, error_message";

/// Stores one check and returns its id.
///
/// # Errors
/// When a value is invalid; any store error.
pub async fn insert(client: &Client, check: &NewHealthCheck<'_>) -> Result<Uuid, NewHealthCheckError> {
    if check.service_name.trim().is_empty() {
        return Err(NewHealthCheckError::NoServiceName);
    }
    if check.status == ServiceState::Unknown {
        return Err(NewHealthCheckError::NoResult);
    }
    let sql = "
        INSERT INTO public.service_health_checks
            (service_name, environment, status, latency_ms, error_message, checked_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6)
        RETURNING id";
    let rows = client
        .query_typed(
            sql,
            &[
                (&check.service_name, Type::TEXT),
                (&DEFAULT_ENVIRONMENT, Type::TEXT),
                (&check.status.as_str(), Type::TEXT),
                (&check.latency_ms, Type::INT4),
                (&check.error_message, Type::TEXT),
                (&check.checked_at, Type::TIMESTAMPTZ),
            ],
        )
        .await
        .map_err(StoreError::from)?;
    let row = rows.first().ok_or_else(|| StoreError::Internal("the insert returned no row".into()))?;
    Ok(column(row, "id")?)
}

/// The newest check of a service, if any.
///
/// # Errors
/// Any store error.
pub async fn find_latest(client: &Client, service_name: &str) -> Result<Option<HealthCheck>, StoreError> {
    Ok(list(client, Some(service_name), 1).await?.into_iter().next())
}

/// Checks, newest first; of one service or of all.
///
/// # Errors
/// Any store error.
pub async fn list(client: &Client, service_name: Option<&str>, limit: u16) -> Result<Vec<HealthCheck>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}
        FROM public.service_health_checks
        WHERE ($1::text IS NULL OR service_name = $1)
            -- Rows of an older schema may have other values.
            AND checked_at IS NOT NULL AND status IN ('healthy', 'degraded', 'down')
        ORDER BY checked_at DESC, id DESC
        LIMIT $2"
    );
    let rows = client.query_typed(&sql, &[(&service_name, Type::TEXT), (&i64::from(limit), Type::INT8)]).await?;
    rows.iter().map(health_check_of).collect()
}

/// Deletes checks older than this many days; returns how many.
///
/// # Errors
/// Any store error.
pub async fn delete_older_than(client: &Client, days: u16, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let sql = "DELETE FROM public.service_health_checks WHERE created_at < $2 - make_interval(hours => 24 * $1)";
    let parameters = [(&i32::from(days) as _, Type::INT4), (&now as _, Type::TIMESTAMPTZ)];
    Ok(client.execute_typed(sql, &parameters).await?)
}

fn health_check_of(row: &Row) -> Result<HealthCheck, StoreError> {
    Ok(HealthCheck {
        id: column(row, "id")?,
        service_name: column(row, "service_name")?,
        environment: column(row, "environment")?,
        status: word(row, "status", ServiceState::parse)?,
        latency_ms: column(row, "latency_ms")?,
        checked_at: column(row, "checked_at")?,
        error_message: column(row, "error_message")?,
    })
}

//! The incident about the probe's own network: opened once when most checks fail at once, closed by the first run that is
//! like any other.

use chrono::{DateTime, Utc};
use tokio_postgres::types::{Json, Type};

use super::{Client, StoreError};
use crate::events::OutboxEvent;
use crate::model::IncidentId;

/// Whose incident it is.
pub const APPLICATION: &str = "watchkeeper";

/// What a suspect run opens.
#[derive(Debug, Clone)]
pub struct NetworkIncident {
    /// Its id, if this opens it.
    pub incident_id: IncidentId,
    /// What it says.
    pub message: String,
    /// `IncidentOpened`, if it is new.
    pub opened: OutboxEvent,
    /// `IncidentReopened`, if it was over for less than an hour.
    pub reopened: OutboxEvent,
}

/// The group of the incident of this region.
#[must_use]
pub fn fingerprint(region: &str) -> String {
    format!("health:network:{region}")
}

/// Opens the incident, also one that was over for less than an hour, or counts one more suspect run of the open one.
///
/// # Errors
/// Any store error.
pub async fn open(
    client: &Client,
    region: &str,
    environment: &str,
    incident: &NetworkIncident,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    client
        .execute_typed(
            include_str!("sql/open_network_incident.sql"),
            &[
                (&incident.incident_id.as_str(), Type::TEXT),
                (&region, Type::TEXT),
                (&APPLICATION, Type::TEXT),
                (&environment, Type::TEXT),
                (&fingerprint(region), Type::TEXT),
                (&incident.message, Type::TEXT),
                (&now, Type::TIMESTAMPTZ),
                (&Json(&incident.opened), Type::JSONB),
                (&Json(&incident.reopened), Type::JSONB),
            ],
        )
        .await?;
    Ok(())
}

/// Closes it, and tells.
///
/// # Errors
/// Any store error.
pub async fn close(
    client: &Client,
    region: &str,
    resolved: &OutboxEvent,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "
        WITH resolved AS (
            UPDATE public.incidents
            SET
                status = 'resolved',
                resolved_at = $2,
                time_to_resolution = $2 - detected_at,
                updated_at = $2,
                handled_by = coalesce(handled_by, 'health-monitor')
            WHERE fingerprint = $1 AND status <> 'resolved'
            RETURNING incident_id
        )
        INSERT INTO public.event_outbox (id, detail_type, detail, created_at)
        SELECT ($3 ->> 'id')::uuid, $3 ->> 'detail_type',
            jsonb_set($3 -> 'detail', '{incident_id}', to_jsonb(incident_id::text)), $2
        FROM resolved
        LIMIT 1";
    client
        .execute_typed(
            sql,
            &[(&fingerprint(region), Type::TEXT), (&now, Type::TIMESTAMPTZ), (&Json(resolved), Type::JSONB)],
        )
        .await?;
    Ok(())
}

//! The incident about the probe's own network: opened when most checks of a run fail together, resolved by the first
//! normal run.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::column;
use super::{Client, StoreError};
use crate::model::IncidentId;

/// The application of our own incidents.
pub const APPLICATION: &str = "watchkeeper";

/// The incident of a suspect run.
#[derive(Debug, Clone)]
pub struct NetworkIncident {
    /// Its id, if it is opened.
    pub incident_id: IncidentId,
    /// Its message.
    pub message: String,
}

/// The fingerprint of this region's incident.
#[must_use]
pub fn fingerprint(region: &str) -> String {
    format!("health:network:{region}")
}

/// Opens the incident, reopens one that was resolved less than an hour ago, or counts one more suspect run on the open
/// one. Returns the id of the event, if any.
///
/// # Errors
/// Any store error.
pub async fn open(
    client: &Client,
    region: &str,
    environment: &str,
    incident: &NetworkIncident,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, StoreError> {
    let rows = client
        .query_typed(
            include_str!("sql/open_network_incident.sql"),
            &[
                (&incident.incident_id.as_str(), Type::TEXT),
                (&region, Type::TEXT),
                (&APPLICATION, Type::TEXT),
                (&environment, Type::TEXT),
                (&fingerprint(region), Type::TEXT),
                (&incident.message, Type::TEXT),
                (&now, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    rows.first().map(|row| column(row, "id")).transpose()
}

/// Resolves the incident, if it is open. Returns the id of the event, if any.
///
/// # Errors
/// Any store error.
pub async fn close(client: &Client, region: &str, now: DateTime<Utc>) -> Result<Option<Uuid>, StoreError> {
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
        SELECT gen_random_uuid(), 'IncidentResolved', jsonb_build_object('incident_id', incident_id), $2
        FROM resolved
        LIMIT 1
        RETURNING id";
    let rows = client.query_typed(sql, &[(&fingerprint(region), Type::TEXT), (&now, Type::TIMESTAMPTZ)]).await?;
    rows.first().map(|row| column(row, "id")).transpose()
}

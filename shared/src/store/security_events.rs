//! `security_events`: what was refused, one row for each kind, source and minute.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Client, StoreError};
use crate::model::Severity;

/// Refusals of one kind, from one source, within one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// Their row: the same for the same kind, source and minute.
    pub id: Uuid,
    /// What was wrong.
    pub event_type: &'static str,
    /// How bad that is.
    pub severity: Severity,
    /// Where they came from.
    pub source_ip: Option<IpAddr>,
    /// One line for a person.
    pub description: String,
    /// How many there were since they were written last.
    pub count: i64,
    /// The first of these.
    pub first_at: DateTime<Utc>,
    /// The last of these.
    pub last_at: DateTime<Utc>,
}

/// Adds these refusals to their rows, all or none. A batch that is sent again, because its answer was lost, adds nothing
/// (unless another process's came in between). Each row may be named once.
///
/// # Errors
/// Any store error.
pub async fn add(client: &Client, batch: Uuid, refusals: &[Refusals]) -> Result<(), StoreError> {
    fn each<T>(refusals: &[Refusals], pick: impl Fn(&Refusals) -> T) -> Vec<T> {
        refusals.iter().map(pick).collect()
    }
    client
        .execute_typed(
            include_str!("sql/add_security_events.sql"),
            &[
                (&each(refusals, |it| format!("SEC-{}", it.id)), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.event_type), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.severity.as_str()), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.source_ip.map(|address| address.to_string())), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.description.clone()), Type::TEXT_ARRAY),
                (&each(refusals, |it| it.count), Type::INT8_ARRAY),
                (&each(refusals, |it| it.first_at), Type::TIMESTAMPTZ_ARRAY),
                (&each(refusals, |it| it.last_at), Type::TIMESTAMPTZ_ARRAY),
                (&batch, Type::UUID),
            ],
        )
        .await?;
    Ok(())
}

//! `system_config`: operators' runtime settings.

use serde_json::Value;
use tokio_postgres::types::Type;

use super::row::column;
use super::{Client, StoreError};
use crate::model::{FileName, Routing};

/// The switch that stops the probe, if one does.
///
/// # Errors
/// Any store error.
pub async fn find_stopping_switch(client: &Client) -> Result<Option<String>, StoreError> {
    let sql = concat!(include_str!("sql/switches.sql"), "SELECT stopped_by FROM switches");
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map_or(Ok(None), |row| column(row, "stopped_by"))
}

/// The stored routes and escalation policies; none = the default.
///
/// # Errors
/// Any store error.
pub async fn find_routing(client: &Client) -> Result<Option<Value>, StoreError> {
    let sql = "SELECT value FROM public.system_config WHERE key = $1";
    let rows = client.query_typed(sql, &[(&Routing::KEY, Type::TEXT)]).await?;
    rows.first().map(|row| column(row, "value")).transpose()
}

/// The services file that the routes came from, if known.
///
/// # Errors
/// Any store error.
pub async fn find_routing_file(client: &Client) -> Result<Option<FileName>, StoreError> {
    let sql = "SELECT value ->> 'name' AS name FROM public.system_config WHERE key = $1";
    let rows = client.query_typed(sql, &[(&Routing::FILE_KEY, Type::TEXT)]).await?;
    let name: Option<String> = rows.first().map_or(Ok(None), |row| column(row, "name"))?;
    Ok(name.map(FileName::from_stored))
}

/// Operators' settings of the intake; none = the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IntakeSettings {
    /// `classification_rules`, unparsed.
    pub classification_rules: Option<Value>,
    /// `incident_reopen_hours`, `{"hours": 24}`: a report within this time after the end reopens an incident.
    pub incident_reopen_hours: Option<f64>,
}

/// Reads the operators' settings of the intake.
///
/// # Errors
/// Any store error.
pub async fn find_for_intake(client: &Client) -> Result<IntakeSettings, StoreError> {
    let sql = "
        SELECT key::text AS key, value FROM public.system_config
        WHERE key IN ('classification_rules', 'incident_reopen_hours')";
    let mut found = IntakeSettings::default();
    for row in client.query_typed(sql, &[]).await? {
        let value: Value = column(&row, "value")?;
        match column::<&str>(&row, "key")? {
            "classification_rules" => found.classification_rules = Some(value),
            _ => found.incident_reopen_hours = value.get("hours").and_then(Value::as_f64),
        }
    }
    Ok(found)
}

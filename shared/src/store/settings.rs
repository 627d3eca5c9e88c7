//! `system_config`: what operators decide while we run.

use serde_json::Value;

use super::row::column;
use super::{Client, StoreError};

/// The switch that stops the probe, if one does.
///
/// # Errors
/// Any store error.
pub async fn find_stopping_switch(client: &Client) -> Result<Option<String>, StoreError> {
    let sql = concat!(include_str!("sql/switches.sql"), "SELECT stopped_by FROM switches");
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map_or(Ok(None), |row| column(row, "stopped_by"))
}

/// The operators' own classification rules, if there are any.
///
/// # Errors
/// Any store error.
pub async fn find_classification_rules(client: &Client) -> Result<Option<Value>, StoreError> {
    let sql = "SELECT value FROM public.system_config WHERE key = 'classification_rules'";
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map(|row| column(row, "value")).transpose()
}

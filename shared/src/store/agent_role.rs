//! The role that the functions log in as.
//!
//! User: the operator's tool.

use tokio_postgres::Client;

use super::StoreError;
use super::row::column;

/// Gives the role `watchkeeper_agent` what it lacks on our tables, and returns the statements that are left for a person to
/// run, since the caller may not. Safe to run any number of times; only as the owner of the tables.
///
/// # Errors
/// Any store error; the schema is not up to date, or the caller does not own the tables.
pub async fn grant(client: &Client) -> Result<Vec<String>, StoreError> {
    let rows = client.query_typed("SELECT public.grant_to_agent() AS statement", &[]).await?;
    rows.iter().map(|row| column(row, "statement")).collect()
}

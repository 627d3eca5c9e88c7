//! The database role of the functions.

use tokio_postgres::Client;

use super::StoreError;
use super::row::column;

/// Grants the role `watchkeeper_agent` its missing privileges on our tables; returns the statements that the caller
/// lacks the privilege to run, for an operator. Idempotent. The caller must own the tables.
///
/// # Errors
/// Any store error; when the schema is outdated or the caller does not own the tables.
pub async fn grant(client: &Client) -> Result<Vec<String>, StoreError> {
    let rows = client.query_typed("SELECT public.grant_to_agent() AS statement", &[]).await?;
    rows.iter().map(|row| column(row, "statement")).collect()
}

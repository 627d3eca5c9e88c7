//! Reads columns: a value that does not fit the schema is an internal error that names the column.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::StoreError;

pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, StoreError> {
    row.try_get(name).map_err(StoreError::internal)
}

/// A text column with the name of an enum's variant.
pub(super) fn word<T>(row: &Row, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: &str = column(row, name)?;
    parse(text).ok_or_else(|| StoreError::Internal(format!("column {name} has the unknown value {text:?}").into()))
}

//! Reading columns: a value that is not what the schema says is a defect, reported with its column.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::StoreError;

pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, StoreError> {
    row.try_get(name).map_err(StoreError::internal)
}

/// A text column that holds one of an enum's spellings.
pub(super) fn word<T>(row: &Row, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: &str = column(row, name)?;
    parse(text).ok_or_else(|| StoreError::Internal(format!("column {name} holds the unknown word {text:?}").into()))
}

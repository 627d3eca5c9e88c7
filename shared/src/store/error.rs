//! What can go wrong with the database, distinguished by what a caller can do about it.

use std::error::Error;
use std::time::Duration;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is starting, stopping or full: try again later.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A conflict with another transaction: a retry succeeds.
    #[error("the statement conflicted with another transaction")]
    Conflict(#[source] tokio_postgres::Error),
    /// It did not answer in time; whether the statement took effect is not known.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// It lacks a table, column or function: `watchkeeper migrate` was not run.
    #[error("the database's schema is not up to date; run `watchkeeper migrate`")]
    Schema(#[source] tokio_postgres::Error),
    /// It refuses a value.
    #[error("the database refused a value")]
    Data(#[source] tokio_postgres::Error),
    /// A statement or a row is not what we think: a defect.
    #[error("the database answered something unexpected")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// Two that would have opened one incident met (two first reports of one of Sentry's groups from two environments,
    /// or a report and a reopening): the second finds the first's.
    /// Or two batches contained the same delivery: the second finds the first's answer.
    const CONFLICT_INDEXES: [&str; 3] =
        ["incidents_open_upstream_key", "incidents_open_fingerprint_key", "inbound_deliveries_pkey"];

    /// A defect, of this cause.
    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(cause))
    }

    /// Whether it is the database that can't be used now, and not what it was asked: later it may well succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Data(_) | Self::Internal(_))
    }

    /// Whether the same statement on a fresh connection may well succeed. Only for writes that have a key.
    pub(crate) fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Unavailable(source) => source
                .downcast_ref::<tokio_postgres::Error>()
                .is_some_and(|error| error.is_closed() || error.as_db_error().is_some() || is_io(error)),
            _ => false,
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|source| source.is::<std::io::Error>())
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            // Without a code it is the way there, unless it is about a value: that is a statement of ours.
            return if is_about_a_value(&error) {
                Self::Internal(Box::new(error))
            } else {
                Self::Unavailable(Box::new(error))
            };
        };
        match state.code().get(..2) {
            // 08 connection, 53 resources, 55 not now, 57 operator intervention, 58 system, 25 read-only, 28 login, 3D no
            // database; XX internal: what Supavisor says when the server behind it is gone
            Some("08" | "53" | "55" | "57" | "58" | "25" | "28" | "3D" | "XX") => Self::Unavailable(Box::new(error)),
            // Serialization failures and deadlocks: the transaction is retried.
            Some("40") => Self::Conflict(error),
            Some("23") if violates(&error, &Self::CONFLICT_INDEXES) => Self::Conflict(error),
            Some("22" | "54") => Self::Data(error),
            Some("42") if is_missing_object(state) => Self::Schema(error),
            _ => Self::Internal(Box::new(error)),
        }
    }
}

fn violates(error: &tokio_postgres::Error, indexes: &[&str]) -> bool {
    error.as_db_error().and_then(|refusal| refusal.constraint()).is_some_and(|name| indexes.contains(&name))
}

fn is_missing_object(state: &SqlState) -> bool {
    [
        &SqlState::UNDEFINED_TABLE,
        &SqlState::UNDEFINED_COLUMN,
        &SqlState::UNDEFINED_FUNCTION,
        &SqlState::INVALID_COLUMN_REFERENCE,
        &SqlState::INSUFFICIENT_PRIVILEGE,
    ]
    .contains(&state)
}

/// The driver distinguishes these only by its own text.
fn is_about_a_value(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    ["error serializing", "error deserializing", "invalid column", "query returned", "expected "]
        .iter()
        .any(|start| text.starts_with(start))
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::from(error),
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

/// The error with all that caused it, for a log line. Of what Postgres says its DETAIL stays out: it shows the row.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        match source.downcast_ref::<tokio_postgres::error::DbError>() {
            Some(refusal) => {
                text.push_str(&format!("{} {}", refusal.code().code(), refusal.message()));
                text.extend(refusal.constraint().map(|name| format!(" ({name})")));
            }
            None => text.push_str(&source.to_string()),
        }
        next = source.source();
    }
    text
}

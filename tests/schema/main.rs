//! The database's tests: its schema, its migrations, its guards, and the store's operations, on a real Postgres.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod agent;
mod alerts;
mod applications;
mod batch;
mod catalog;
mod check_ins;
mod contract;
mod counters;
mod guards;
mod health_checks;
mod indexes;
mod lifecycle;
mod migrate;
mod occurrences;
mod older;
mod own_columns;
mod pgvector;
mod public_dsns;
mod reactions;
mod reports;
mod roles;
mod schema;
mod security_events;

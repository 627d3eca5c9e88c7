//! Access to Postgres: all SQL is here, one file per aggregate, long statements in `sql/`.
//!
//! Statements are typed and unnamed (`query_typed`): one round trip each, and safe behind a transaction pooler.
//! Results use built-in types only. Every write is idempotent, so that [`Store::run`] can retry it.

pub mod agent_role;
pub mod alerts;
pub mod applications;
pub mod check_ins;
pub mod checks;
mod connect;
pub mod counters;
pub mod deliveries;
pub mod emails;
mod error;
pub mod escalations;
pub mod health_checks;
pub mod heartbeats;
pub mod incidents;
pub mod lifecycle;
pub mod network;
pub mod notifications;
pub mod outbox;
pub mod paging;
mod pool;
pub mod probing;
pub mod quotas;
pub mod reactions;
pub mod reports;
pub mod retention;
mod row;
pub mod security_events;
pub mod services;
pub mod settings;
pub mod silences;
pub mod status;
pub mod subjects;
pub mod uptime;
pub mod vitals;

pub use connect::{ConnectError, ConnectionSettings, Pooling, ServerAddress};
pub use deadpool_postgres::{Client, Transaction};
pub use error::{StoreError, chain};
pub use pool::{PoolSize, Store};

//! The local stack: everything that AWS does for the deployed functions, in one process, on the library code that the
//! Lambdas run.
//!
//! - [`stack`]: the HTTP functions on one port ([`server`]), the schedules, the bus and its queues.
//! - [`bus`]: EventBridge and SQS, by the rules of `template.yaml`; [`journal`]: its memory on disk.
//! - [`postgres`]: the embedded server; [`migrations`]: `migrations/*.sql`; [`data_dir`]: the files of a running stack.
//!
//! Users: `cli` and `tests`. May import functions; no function imports it.

pub mod bus;
pub mod data_dir;
pub mod journal;
pub mod migrations;
pub mod postgres;
mod scheduler;
pub mod server;
pub mod stack;
mod ticker;

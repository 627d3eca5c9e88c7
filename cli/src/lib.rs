//! The operator's tool, and the local stack: everything in one process, on the handlers that the Lambdas run.
//!
//! One file per command in [`commands`], each on the Watchkeeper that [`selection`] finds; [`stack`] is what `start` runs; [`postgres`] is the embedded server;
//! [`migrations`] applies `migrations/*.sql`. May import functions; nothing but `tests/` imports it.

pub mod args;
pub mod commands;
pub mod config;
pub mod demo;
pub mod migrations;
pub mod output;
pub mod postgres;
pub mod progress;
pub mod remote;
pub mod selection;
pub mod services_file;
pub mod stack;
pub mod table;

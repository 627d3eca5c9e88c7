//! Tests of the binary `watchkeeper`: real processes, real signals, a data directory for each test.
//!
//! - [`process`]: starts the binary and observes it from outside.
//! - one file per feature; [`commands`] for commands that end by themselves.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![expect(clippy::print_stderr, reason = "a test says how long things took")]

mod access;
mod apply;
mod apps;
mod commands;
mod deferral;
mod demo;
mod docs;
mod files;
mod incidents;
mod journal;
mod minute;
mod one_watchkeeper;
mod people;
mod places;
mod process;
mod prune;
mod recovery;
mod refusals;
mod slack;
mod slow_clients;
mod start_stop;
mod watching;

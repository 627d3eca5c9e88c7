//! The operator's CLI: the binary `watchkeeper`.
//!
//! One file per command in [`commands`], each on the Watchkeeper that [`selection`] finds. `start` runs the stack of
//! the crate `local`; [`feed`] shows its events, and [`logs`] writes its log files. Nothing imports this crate.

pub mod args;
pub mod commands;
pub mod config;
pub mod demo;
pub mod feed;
pub mod logs;
pub mod output;
pub mod progress;
pub mod remote;
pub mod selection;
pub mod services_file;
pub mod table;

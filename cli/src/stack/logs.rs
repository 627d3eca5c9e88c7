//! Where logs go: JSON lines to a file that a new one replaces each day, pretty lines to a terminal.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::Context as _;
use shared::telemetry::filter;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// This many days are kept.
const FILES: usize = 14;

/// Logs of a running stack: to `DATA_DIR/logs/`, and to standard error when that is a terminal.
///
/// # Errors
/// When the folder can't be written to.
pub fn to_files(data_dir: &Path, rust_log: Option<&str>) -> anyhow::Result<()> {
    let folder = data_dir.join("logs");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("watchkeeper")
        .filename_suffix("jsonl")
        .max_log_files(FILES)
        .build(&folder)
        .with_context(|| format!("write logs to {}", folder.display()))?;
    let to_file = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(file);
    let to_terminal = std::io::stderr()
        .is_terminal()
        .then(|| tracing_subscriber::fmt::layer().with_target(false).with_writer(std::io::stderr));
    // An error means that a subscriber is set already, which only a test does.
    let _ = tracing_subscriber::registry().with(to_file).with(to_terminal).with(filter(rust_log)).try_init();
    Ok(())
}

/// Logs of a command that ends by itself: warnings, to standard error.
pub fn to_terminal(rust_log: Option<&str>) {
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .without_time()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = if rust_log.is_some() { lines.boxed() } else { lines.with_filter(LevelFilter::ERROR).boxed() };
    // An error means that a subscriber is set already, which only a test does.
    let _ = tracing_subscriber::registry().with(lines).with(filter(rust_log)).try_init();
}

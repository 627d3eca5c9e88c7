//! Log output: JSON lines to a file per day, readable lines to a terminal. Logs contain names and addresses, so only
//! their owner can read the files.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context as _;
use chrono::Utc;
use shared::telemetry::filter;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::feed::Feed;

/// Retention: one file per day.
const FILES: usize = 14;

/// Logs of a running stack: to `DATA_DIR/logs/`, to the feed, and to standard error if that is a terminal and there is
/// no feed or `RUST_LOG` is set.
///
/// # Errors
/// When the folder can't be written to.
pub fn to_files(data_dir: &Path, rust_log: Option<&str>, feed: Option<Feed>) -> anyhow::Result<()> {
    let file = PrivateFiles::open(data_dir.join("logs"))?;
    // Write errors are not printed: standard error may be closed, too.
    let to_file = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .log_internal_errors(false)
        .with_writer(Mutex::new(file));
    let for_people = std::io::stderr().is_terminal() && (feed.is_none() || rust_log.is_some());
    let to_terminal = for_people.then(|| {
        let lines = tracing_subscriber::fmt::layer().with_target(false).log_internal_errors(false);
        lines.with_writer(std::io::stderr).with_filter(filter(rust_log))
    });
    let feed = feed.map(|feed| feed.with_filter(Feed::filter()));
    // An error means that a subscriber is set already, which only a test does.
    let _ = tracing_subscriber::registry()
        .with(to_file.with_filter(filter(rust_log)))
        .with(to_terminal)
        .with(feed)
        .try_init();
    Ok(())
}

/// Logs of a command other than `start`: to standard error, errors only unless `RUST_LOG` is set.
pub fn to_terminal(rust_log: Option<&str>) {
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .without_time()
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let lines = if rust_log.is_some() { lines.boxed() } else { lines.with_filter(LevelFilter::ERROR).boxed() };
    // An error means that a subscriber is set already, which only a test does.
    let _ = tracing_subscriber::registry().with(lines).with(filter(rust_log)).try_init();
}

/// The log files of a folder, private to their owner.
struct PrivateFiles {
    folder: PathBuf,
    files: RollingFileAppender,
    /// When permissions were last fixed: a rotated file gets the permissions of the process.
    minute: i64,
}

impl PrivateFiles {
    fn open(folder: PathBuf) -> anyhow::Result<Self> {
        let make = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            fs::set_permissions(&folder, Permissions::from_mode(0o700))
        };
        make().with_context(|| format!("make {}", folder.display()))?;
        let files = RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix("watchkeeper")
            .filename_suffix("jsonl")
            .max_log_files(FILES)
            .build(&folder)
            .with_context(|| format!("write logs to {}", folder.display()))?;
        make_private(&folder).with_context(|| format!("make {} private", folder.display()))?;
        Ok(Self { folder, files, minute: 0 })
    }
}

impl Write for PrivateFiles {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.files.write(bytes)?;
        let minute = Utc::now().timestamp() / 60;
        if self.minute != minute {
            self.minute = minute;
            make_private(&self.folder)?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.files.flush()
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_file() && found.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

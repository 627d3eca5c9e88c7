//! `bench ingest`, `bench start`, `bench probe` and `bench notify`: the figures of the whole path, printed, and kept in
//! `tests/benches/RESULTS.md`.
//!
//! Each starts its own Postgres (the embedded one, in a temporary directory). `make bench` runs all.
#![expect(clippy::print_stdout, reason = "a tool of the developers, not of the product")]

mod batches;
mod figures;
mod ingest;
mod load;
mod machine;
mod notify;
mod pgbench;
mod probe;
mod process;
mod pure;
mod requests;
mod results;
mod server;
mod start;
mod storage;
mod targets;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

/// How long an interrupted benchmark may take to stop its server.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Not /tmp, which may be memory.
    let folder = tempfile::Builder::new().prefix("watchkeeper-bench-").tempdir_in("/var/tmp")?;
    // As root, the server runs as another user, who has to reach this folder.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let measured = tokio::select! {
        measured = measure(&arguments, folder.path()) => measured,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    if measured.is_err() {
        // A server that was dropped stops in the background.
        tokio::time::sleep(LAST_MOMENTS).await;
    }
    folder.close().context("remove the server's files")?;
    let (title, text) = measured?;
    println!("{text}");
    // A short run or a debug build is for trying the benchmark itself: its figures are not worth keeping.
    if !cfg!(debug_assertions) && !arguments.contains(&"--short") {
        println!("kept in {}", results::keep(title, &text)?.display());
    }
    Ok(())
}

/// The title and the text of the section.
async fn measure(arguments: &[&str], folder: &Path) -> anyhow::Result<(&'static str, String)> {
    match arguments {
        ["ingest"] => Ok(("Ingest", ingest::run(folder, &ingest::FULL).await?)),
        ["ingest", "--short"] => Ok(("Ingest", ingest::run(folder, &ingest::SHORT).await?)),
        ["start"] => Ok(("Start", start::run(folder).await?)),
        ["probe"] => Ok(("Probe", probe::run(folder, &probe::FULL).await?)),
        ["probe", "--short"] => Ok(("Probe", probe::run(folder, &probe::SHORT).await?)),
        ["notify"] => Ok(("Notify", notify::run(folder, &notify::FULL).await?)),
        ["notify", "--short"] => Ok(("Notify", notify::run(folder, &notify::SHORT).await?)),
        _ => bail!("usage: bench ingest [--short] | bench start | bench probe [--short] | bench notify [--short]"),
    }
}

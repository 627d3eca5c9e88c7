//! Supervises the server: when it dies it is restarted with a back-off, on the same port.
//!
//! Invariant: the task ends only when it is stopped (or its handle is dropped), and then the
//! server ends too.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::oneshot;

use super::LOG_TARGET;
use super::server::Server;

/// The first and the longest back-off of a restart.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a restarted server may take to recover and answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// The interval of the log's size check.
const LOG_CHECK: Duration = Duration::from_secs(60);

/// Supervises `server` until `stop`.
pub(crate) async fn supervise(mut server: Server, mut stop: oneshot::Receiver<()>) -> Result<()> {
    loop {
        tokio::select! {
            _ = &mut stop => return server.stop().await,
            status = server.ended() => {
                let pid = server.pid.load(Ordering::Relaxed);
                tracing::warn!(target: LOG_TARGET, pid, status, "the database server died; starting it again");
                tokio::select! {
                    _ = &mut stop => return server.stop().await,
                    () = revive(&mut server) => {}
                }
            }
            () = tokio::time::sleep(LOG_CHECK) => {
                if let Err(error) = server.home.open_log() {
                    tracing::warn!("the database server's log cannot be bounded: {error:#}");
                }
            }
        }
    }
}

async fn revive(server: &mut Server) {
    let died = Instant::now();
    let (mut pause, longest) = PAUSES;
    loop {
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 2);
        let attempt = match server.launch(PATIENCE).await {
            Ok(()) => break,
            Err(error) => server.end().await.err().unwrap_or(error),
        };
        tracing::warn!("the database server did not start; trying again: {attempt:#}");
    }
    tracing::info!(
        target: LOG_TARGET,
        pid = server.pid.load(Ordering::Relaxed),
        after = ?died.elapsed(),
        "the database server is back"
    );
}

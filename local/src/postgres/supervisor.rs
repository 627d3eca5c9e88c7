//! Keeps the server running: when it dies unasked it is started again, on the same port.
//!
//! Invariant: the task ends only when it is asked to (or its handle is dropped), and then it
//! takes the server with it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::oneshot;

use super::LOG_TARGET;
use super::server::Server;

/// The pause before the first attempt to start a dead server again, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a restarted server may take to recover and answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the log's size is looked at.
const LOG_CHECK: Duration = Duration::from_secs(60);

/// Watches `server` until `stop` says so.
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

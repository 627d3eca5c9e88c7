//! One server: its command line, its start, the wait until it answers, its end.
//!
//! Invariants: there is at most one child; `DATA_DIR/postgres.pid` names the latest one; a
//! `Server` that is dropped asks its child to end, so that no panicking test leaves one behind.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use tokio::process::Child;

use super::EmbeddedError;
use super::binaries::Binaries;
use super::client::Address;
use super::home::{self, Home};
use super::leftovers::{self, send};

/// The poll interval of a starting server.
const POLL: Duration = Duration::from_millis(20);
/// How the server is asked to end, and for how long each time: fast (sessions are cut off),
/// immediate (the next start recovers), by force.
const ENDINGS: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(2)),
    (Signal::SIGQUIT, Duration::from_secs(6)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

/// The server, running or not.
pub(crate) struct Server {
    pub(crate) home: Home,
    pub(crate) binaries: Binaries,
    pub(crate) address: Address,
    pub(crate) pid_file: PathBuf,
    pub(crate) durable: bool,
    pub(crate) max_connections: u16,
    pub(crate) pid: Arc<AtomicU32>,
    pub(crate) child: Option<Child>,
}

impl Server {
    /// Starts the server and waits until it answers, at most for `patience`. After an error the
    /// child may still be running.
    pub(crate) async fn launch(&mut self, patience: Duration) -> Result<()> {
        let data = self.home.data();
        leftovers::clear(&data).await?;
        let (log, log_start) = self.home.open_log()?;
        let mut command = self.binaries.command("postgres");
        command.arg("-D").arg(&data).stderr(Stdio::from(log));
        for setting in self.settings() {
            command.arg("-c").arg(setting);
        }
        let child = command.spawn().context("starting postgres")?;
        let pid = child.id().unwrap_or_default();
        self.child = Some(child);
        self.pid.store(pid, Ordering::Relaxed);
        home::replace(&self.pid_file, &pid.to_string(), 0o644, None)?;
        self.wait_ready(pid, log_start, patience).await
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = vec![
            format!("cluster_name={}", leftovers::server_name(&self.home.data())),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.address.port),
            "unix_socket_directories=".to_owned(),
            format!("max_connections={}", self.max_connections),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            "lc_messages=C".to_owned(),
            "log_destination=stderr".to_owned(),
            "logging_collector=off".to_owned(),
            "log_min_messages=warning".to_owned(),
            "log_checkpoints=off".to_owned(),
            "log_line_prefix=%m [%p] ".to_owned(),
        ];
        if !self.durable {
            for name in ["fsync", "synchronous_commit", "full_page_writes"] {
                settings.push(format!("{name}=off"));
            }
        }
        settings
    }

    async fn wait_ready(&mut self, pid: u32, log_start: u64, patience: Duration) -> Result<()> {
        let data = self.home.data();
        let deadline = Instant::now() + patience;
        let mut last = anyhow!("it is still starting up");
        while Instant::now() < deadline {
            let child = self.child.as_mut();
            if let Some(status) = child.map(Child::try_wait).transpose()?.flatten() {
                self.child = None;
                return Err(self.died(status, log_start));
            }
            let lock = home::read(&data.join("postmaster.pid")).unwrap_or_default();
            if lock.is_some_and(|lock| says_ready(&lock, pid)) {
                match self.address.verify(&data).await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            tokio::time::sleep(POLL).await;
        }
        bail!(
            "Postgres (process {pid}) did not answer within {} s: {last:#}; its log, {}, ends:\n{}",
            patience.as_secs(),
            self.home.log_path().display(),
            self.home.log_tail(log_start)
        )
    }

    fn died(&self, status: ExitStatus, log_start: u64) -> anyhow::Error {
        let tail = self.home.log_tail(log_start);
        if tail.contains("could not create any TCP/IP sockets") {
            let port = self.address.port;
            return EmbeddedError::PortTaken { port }.into();
        }
        anyhow!("Postgres ended while starting ({status}); its log, {}, ends:\n{tail}", self.home.log_path().display())
    }

    /// Waits until the child has ended; forever when there is none.
    pub(crate) async fn ended(&mut self) -> String {
        let Some(child) = self.child.as_mut() else {
            return std::future::pending().await;
        };
        let status = child.wait().await;
        self.child = None;
        status.map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Ends the child, if there is one, and waits until it is gone.
    pub(crate) async fn end(&mut self) -> Result<()> {
        let Some(child) = self.child.as_mut() else {
            return Ok(());
        };
        for (signal, patience) in ENDINGS {
            if let Some(pid) = child.id() {
                send(i32::try_from(pid)?, signal)?;
            }
            if let Ok(status) = tokio::time::timeout(patience, child.wait()).await {
                let status = status.context("waiting for Postgres to end")?;
                tracing::debug!(%status, %signal, "Postgres ended");
                self.child = None;
                return Ok(());
            }
            tracing::warn!(%signal, "Postgres has not ended; sending the next signal");
        }
        bail!("Postgres (process {}) does not end: stop it", self.pid.load(Ordering::Relaxed))
    }

    /// Ends the server for good: afterwards no file says that it runs.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.end().await?;
        match fs::remove_file(&self.pid_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.pid_file.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Server {
    /// Ends the server and waits for it, so that a start that is given up leaves nothing behind either.
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
        for (signal, patience) in [(Signal::SIGINT, 1_500), (Signal::SIGQUIT, 500), (Signal::SIGKILL, 500)] {
            if let Err(error) = send(pid, signal) {
                tracing::warn!("the database server may be left running: {error:#}");
                return;
            }
            let until = std::time::Instant::now() + Duration::from_millis(patience);
            while std::time::Instant::now() < until {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    // It may be gone already, and is of no use.
                    let _ = std::fs::remove_file(&self.pid_file);
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Whether the lock file says that the postmaster `pid` accepts connections: its eighth line.
fn says_ready(lock: &str, pid: u32) -> bool {
    let mut lines = lock.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
}

#[cfg(test)]
mod tests {
    use super::says_ready;

    #[test]
    fn readiness_is_this_process_own() {
        let lock = "42\n/d\n1700000000\n15001\n\n127.0.0.1\n  1 2\nready   \n";
        assert!(says_ready(lock, 42));
        assert!(!says_ready(lock, 43));
        assert!(!says_ready(&lock.replace("ready   ", "starting"), 42));
        assert!(!says_ready("42\n/d\n", 42));
    }
}

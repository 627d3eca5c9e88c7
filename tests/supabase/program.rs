//! A server program of the system, on a free port, in a folder of its own, run as another user than root.

use std::fs::File;
use std::io::{Error, Result};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;

/// The time-out of starting and of stopping.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two checks of it.
const PAUSE: Duration = Duration::from_millis(10);
/// Another program may take the free port first: then another port is tried.
const ATTEMPTS: usize = 3;

/// A running program; it stops when dropped.
pub(crate) struct Program {
    child: Child,
    port: u16,
    end_with: Signal,
}

/// What starting a program needs.
pub(crate) struct Start<'a> {
    /// Its folder, which contains its `log`.
    pub(crate) folder: &'a Path,
    /// The log line by which it is ready.
    pub(crate) says_when_ready: &'a str,
    /// The signal for a fast shutdown.
    pub(crate) end_with: Signal,
}

impl Program {
    /// Starts this command on a free port, and waits until it is ready.
    pub(crate) async fn on_a_free_port(start: &Start<'_>, command: impl Fn(u16) -> Command) -> Self {
        let mut refusals = String::new();
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            match Self::on_port(start, port, command(port)).await {
                Ok(program) => return program,
                Err(error) => refusals.push_str(&error.to_string()),
            }
        }
        panic!("{refusals}");
    }

    /// Starts it, and waits until it is ready; the error is its log.
    pub(crate) async fn on_port(start: &Start<'_>, port: u16, mut command: Command) -> Result<Self> {
        let log = start.folder.join("log");
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // From here on it is stopped in any case.
        let mut program = Self { child: unprivileged(&mut command).spawn()?, port, end_with: start.end_with };
        let begun = Instant::now();
        loop {
            let said = std::fs::read_to_string(&log)?;
            if said.contains(start.says_when_ready) {
                return Ok(program);
            }
            if program.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err(Error::other(format!("{command:?} did not become ready; its log:\n{said}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or_default());
        let begun = Instant::now();
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) && kill(id, self.end_with).is_ok() {
            while begun.elapsed() < PATIENCE && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                std::thread::sleep(PAUSE);
            }
        }
        // Both fail only when it has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first of these files that exists.
pub(crate) fn find(candidates: impl IntoIterator<Item = PathBuf>, otherwise: &str) -> PathBuf {
    candidates.into_iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("{otherwise}"))
}

/// A folder that the programs may write to.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("watchkeeper-supabase-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    give(folder.path());
    folder
}

/// A file in it that only the programs' user may read.
pub(crate) fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, content).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    give(&file);
    file
}

/// Both programs refuse to run as root.
pub(crate) fn unprivileged(command: &mut Command) -> &mut Command {
    command.env_clear().env("LC_ALL", "C");
    if let Some(user) = unprivileged_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn give(path: &Path) {
    if let Some(user) = unprivileged_user() {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

/// The user that they run as, under root.
fn unprivileged_user() -> Option<User> {
    geteuid().is_root().then(|| User::from_name("nobody").unwrap().unwrap())
}

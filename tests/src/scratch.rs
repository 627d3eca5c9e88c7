//! A directory of a test's own. Afterwards nothing of it is left, passed or failed: no file (root's server may have
//! put its own elsewhere), and no process that works in it.
//!
//! Processes are looked for in `/proc`; where there is none (macOS), none are found.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Where root's server keeps its files when its user can't enter the data directory: within the first, or named like
/// the second.
const OUTSIDE: [&str; 2] = ["/var/lib/watchkeeper/", "/var/tmp/watchkeeper-"];

/// A directory that every user may enter.
pub struct Scratch {
    path: PathBuf,
    _folder: TempDir,
}

impl Scratch {
    /// A new one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("wk-test-").tempdir().expect("a directory of its own");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a directory of its own");
        Self { path: folder.path().canonicalize().expect("a directory of its own"), _folder: folder }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What runs with one of its paths in its command line, and the sessions of a server that does.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let mut marks = vec![self.path.display().to_string()];
        marks.extend(self.outside().iter().map(|place| place.display().to_string()));
        let all = processes();
        let names: Vec<String> =
            all.iter().filter(|it| it.has_one_of(&marks)).filter_map(Process::server_name).collect();
        marks.extend(names.iter().map(|name| format!("postgres: {name}: ")));
        all.into_iter().filter(|it| it.has_one_of(&marks)).collect()
    }

    /// Places outside, which links in here lead to.
    fn outside(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find_links(&self.path, &mut found);
        found.retain(|target| OUTSIDE.iter().any(|place| target.to_string_lossy().starts_with(place)));
        found
    }

    fn end_processes(&self) {
        for (signal, patience) in [(Signal::SIGQUIT, 3), (Signal::SIGKILL, 3)] {
            for process in self.processes() {
                // It may have ended by itself just now.
                let _ = kill(process.pid, signal);
            }
            let deadline = Instant::now() + Duration::from_secs(patience);
            while Instant::now() < deadline {
                if self.processes().is_empty() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.end_processes();
        for place in self.outside() {
            let _ = fs::remove_dir_all(place);
        }
    }
}

/// A running process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Its command line, words joined by spaces.
    pub command: String,
}

impl Process {
    /// The name that all processes of a database server bear.
    pub fn server_name(&self) -> Option<String> {
        let (_, rest) = self.command.split_once(" cluster_name=")?;
        rest.split_whitespace().next().map(str::to_owned)
    }

    fn has_one_of(&self, marks: &[String]) -> bool {
        marks.iter().any(|mark| self.command.contains(mark))
    }
}

/// Every running process but this one.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id().cast_signed())
        .filter_map(|pid: i32| {
            let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&bytes).replace('\0', " ");
            Some(Process { pid: Pid::from_raw(pid), command })
        })
        .collect()
}

/// The targets of all links below, except in the server's own directories.
fn find_links(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_symlink() {
            found.extend(fs::read_link(entry.path()));
        } else if kind.is_dir() && entry.file_name() != "postgres" {
            find_links(&entry.path(), found);
        }
    }
}

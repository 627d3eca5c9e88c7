//! Server processes that a killed run left behind: found, recognised and ended.
//!
//! A postmaster survives a killed stack, and backends survive a killed postmaster. Every process
//! of a server has the server's name (`cluster_name`) in its command line, which all users may
//! read; `/proc/PID/cwd` may be unreadable even for root in a container.
//!
//! Invariant: a process is signalled only while its command line says that it is this server's;
//! a process number alone, which the system may have given to another program, is no proof.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use uuid::Uuid;

use super::home::read;

/// The poll interval of the process list.
const POLL: Duration = Duration::from_millis(20);

/// A process of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    pid: i32,
    postmaster: bool,
}

/// The name of the processes of the server on `data` (a canonical path).
pub(crate) fn server_name(data: &Path) -> String {
    let path = data.as_os_str().as_encoded_bytes();
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_URL, path).simple().to_string();
    format!("watchkeeper-{hash}")
}

/// Ends the remaining processes of the server on `data`, and removes its lock file when that
/// names another program's process (Postgres itself would refuse to start).
pub(crate) async fn clear(data: &Path) -> Result<()> {
    let name = server_name(data);
    if members(&name).await?.iter().any(|member| member.postmaster) {
        tracing::warn!(data = %data.display(), "stopping a database server left by a killed run");
        end(&name, Signal::SIGINT, Duration::from_secs(5)).await?;
    }
    // Backends without a postmaster end by themselves, mostly at once.
    let rest = [
        (None, Duration::from_millis(300)),
        (Some(Signal::SIGQUIT), Duration::from_secs(2)),
        (Some(Signal::SIGKILL), Duration::from_secs(2)),
    ];
    for (signal, patience) in rest {
        if wait_gone(&name, signal, patience).await? {
            return drop_foreign_lock(data).await;
        }
    }
    let left: Vec<i32> = members(&name).await?.iter().map(|m| m.pid).collect();
    bail!("processes {left:?} of the database in {} do not end: stop them", data.display())
}

/// Signals the postmaster and waits for the whole server to end, but no longer than `patience`.
async fn end(name: &str, signal: Signal, patience: Duration) -> Result<()> {
    for member in members(name).await?.iter().filter(|m| m.postmaster) {
        send(member.pid, signal)?;
    }
    wait_gone(name, None, patience).await.map(drop)
}

async fn wait_gone(name: &str, signal: Option<Signal>, patience: Duration) -> Result<bool> {
    let deadline = Instant::now() + patience;
    let mut signal = signal;
    loop {
        let members = members(name).await?;
        if members.is_empty() {
            return Ok(true);
        }
        if let Some(signal) = signal.take() {
            for member in &members {
                send(member.pid, signal)?;
            }
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Sends a signal; a process that has ended is no error.
pub(crate) fn send(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("sending {signal} to process {pid}")),
    }
}

/// Removes a stale lock file with which Postgres would refuse to start: an empty one, of a
/// postmaster killed while writing it, and one whose process is another program or a zombie. One
/// whose process is gone is left to Postgres, which checks more.
async fn drop_foreign_lock(data: &Path) -> Result<()> {
    let path = data.join("postmaster.pid");
    let Some(lock) = read(&path)? else {
        return Ok(());
    };
    let pid = lock.lines().next().and_then(|line| line.trim().parse().ok());
    let Some(pid) = pid.filter(|pid| *pid > 0) else {
        return remove_lock(&path);
    };
    if kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH) {
        return Ok(());
    }
    let commands = processes().await?;
    let command = commands.iter().find(|(other, _)| *other == pid);
    if let Some((_, command)) = command
        && may_be_ours_moved(command)
    {
        bail!(
            "process {pid} is a Postgres server that may still use {}, which seems to have been \
             moved: stop it (kill -INT {pid})",
            data.display()
        );
    }
    remove_lock(&path)
}

fn remove_lock(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("removing the stale {}", path.display()))
}

/// Whether this is a server of ours whose data directory is no longer where it was.
fn may_be_ours_moved(command: &str) -> bool {
    command.contains(" cluster_name=watchkeeper-")
        && command
            .split_once(" -D ")
            .and_then(|(_, rest)| rest.split_once(" -c "))
            .is_some_and(|(dir, _)| !Path::new(dir).exists())
}

async fn members(name: &str) -> Result<Vec<Member>> {
    let found = processes().await?;
    Ok(found.iter().filter_map(|(pid, command)| member(*pid, command, name)).collect())
}

fn member(pid: i32, command: &str, name: &str) -> Option<Member> {
    let argument = format!(" cluster_name={name}");
    let title = format!("postgres: {name}: ");
    let postmaster = command.contains("/postgres -D ") && command.contains(&argument);
    (postmaster || command.starts_with(&title)).then_some(Member { pid, postmaster })
}

/// The running processes with their command lines, words joined by spaces.
#[cfg(target_os = "linux")]
async fn processes() -> Result<Vec<(i32, String)>> {
    let entries = std::fs::read_dir("/proc").context("reading /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids
        .filter_map(|pid: i32| {
            let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
            (!text.is_empty()).then_some((pid, text))
        })
        .collect())
}

/// The running processes with their command lines, words joined by spaces.
#[cfg(not(target_os = "linux"))]
async fn processes() -> Result<Vec<(i32, String)>> {
    listed().await
}

#[cfg(any(test, not(target_os = "linux")))]
async fn listed() -> Result<Vec<(i32, String)>> {
    let output = tokio::process::Command::new("/bin/ps")
        .args(["-A", "-ww", "-o", "pid=,command="])
        .output()
        .await
        .context("running /bin/ps to look for database servers")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| {
            let (pid, command) = line.trim_start().split_once(' ')?;
            Some((pid.parse().ok()?, command.trim_start().to_owned()))
        })
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
mod tests {
    use super::*;

    #[test]
    fn only_this_server_is_a_member() {
        let name = server_name(Path::new("/d/postgres/data"));
        let main = format!("/x y/bin/postgres -D /d/postgres/data -c cluster_name={name} -c a=b");
        assert!(member(1, &main, &name).unwrap().postmaster);
        let backend = format!("postgres: {name}: checkpointer ");
        assert!(!member(2, &backend, &name).unwrap().postmaster);
        let other = server_name(Path::new("/e/postgres/data"));
        for command in [&main, &backend, &format!("grep {other}"), &String::new()] {
            assert_eq!(member(3, command, &other), None, "{command}");
        }
    }

    #[test]
    fn a_moved_server_is_recognised_by_where_it_was() {
        let gone = "/x/postgres -D /no/such place/data -c cluster_name=watchkeeper-1 -c a=b";
        assert!(may_be_ours_moved(gone));
        assert!(!may_be_ours_moved(&gone.replace("/no/such place/data", "/")));
        assert!(!may_be_ours_moved("sleep 60"));
    }

    #[tokio::test]
    async fn both_lists_know_this_process() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(processes().await.unwrap().iter().any(|(pid, _)| *pid == me));
        if Path::new("/bin/ps").exists() {
            assert!(listed().await.unwrap().iter().any(|(pid, _)| *pid == me));
        }
    }
}

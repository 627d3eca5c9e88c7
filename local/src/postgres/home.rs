//! The server's own directory, `DATA_DIR/postgres`: its place, its lock, its files.
//!
//! It holds `data` (the cluster), `password`, `port`, `server.log` and `lock`. Under root, when
//! the server's user cannot get into the data directory, it lies elsewhere and
//! `DATA_DIR/postgres` is a symlink to it.
//!
//! Invariants: one process at a time locks a home (a file lock, which the system releases when
//! that process dies); root writes here only through files it opened without following links,
//! since the directory belongs to an unprivileged user.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use uuid::Uuid;

use super::EmbeddedError;
use super::reach::{self, Account, Outside};

/// How long a start waits for another process's lock, which may be stopping.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// A log larger than this is emptied.
const LOG_LIMIT: u64 = 10 * 1024 * 1024;
/// How much of the log's end an error reads, and how many lines it shows.
const TAIL_BYTES: u64 = 16 * 1024;
const TAIL_LINES: usize = 12;
/// Ports to pick from: below the ranges that Linux and macOS take for outgoing connections, so
/// that no client can take the port while the server is restarted.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// The server's directory, locked.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    account: Account,
    _lock: File,
}

impl Home {
    /// Finds or creates the home of `data_dir` (a canonical path) and locks it.
    pub(crate) fn open(data_dir: &Path, account: Account, outside: &Outside) -> Result<Self> {
        let place = place(data_dir, account, outside)?;
        account.private_dir(&place)?;
        let dir = place.canonicalize().with_context(|| format!("resolving {}", place.display()))?;
        let lock = hold(&dir.join("lock"), data_dir)?;
        Ok(Self { dir, account, _lock: lock })
    }

    /// The cluster's directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The directory itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with the superuser's password.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The superuser's password, which is made up when there is no cluster yet that has one.
    pub(crate) fn password(&self) -> Result<String> {
        let path = self.password_file();
        let known = read(&path)?.map(|text| text.trim().to_owned());
        if let Some(known) = known.filter(|known| !known.is_empty()) {
            return Ok(known);
        }
        if self.data().exists() {
            bail!(
                "{} is missing or empty, and the database in {} cannot be opened without it: \
                 put it back, or move that directory to another place to begin with an empty database",
                path.display(),
                self.data().display()
            );
        }
        let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.replace(&path, &password)?;
        Ok(password)
    }

    /// The previous port if it is free, or else another one.
    pub(crate) fn port(&self) -> Result<u16> {
        let known = read(&self.dir.join("port"))?.and_then(|text| text.trim().parse().ok());
        match known.filter(|port| is_free(*port)) {
            Some(port) => Ok(port),
            None => self.new_port(),
        }
    }

    /// Picks a free port and remembers it.
    pub(crate) fn new_port(&self) -> Result<u16> {
        let span = PORTS.end - PORTS.start;
        for _ in 0..200 {
            let bytes = Uuid::new_v4().into_bytes();
            let port = PORTS.start + u16::from_be_bytes([bytes[0], bytes[1]]) % span;
            if is_free(port) {
                self.replace(&self.dir.join("port"), &port.to_string())?;
                return Ok(port);
            }
        }
        bail!("no free port found on 127.0.0.1 between {} and {}", PORTS.start, PORTS.end)
    }

    /// The log, open for appending, and its present length.
    pub(crate) fn open_log(&self) -> Result<(File, u64)> {
        let path = self.log_path();
        let open = || -> io::Result<(File, u64)> {
            let log = options().append(true).create(true).open(&path)?;
            self.account.own(&log)?;
            // One that an earlier version made may be open to others.
            log.set_permissions(Permissions::from_mode(0o600))?;
            if log.metadata()?.len() > LOG_LIMIT {
                log.set_len(0)?;
            }
            let length = log.metadata()?.len();
            Ok((log, length))
        };
        open().with_context(|| format!("opening {}", path.display()))
    }

    /// The last lines written to the log after its first `from` bytes.
    pub(crate) fn log_tail(&self, from: u64) -> String {
        let read = || -> io::Result<String> {
            let mut log = options().read(true).open(self.log_path())?;
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL_BYTES)).min(length)))?;
            let mut bytes = Vec::new();
            log.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
        };
        read().unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
    }

    /// The server's log file.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    fn replace(&self, path: &Path, text: &str) -> Result<()> {
        replace(path, text, 0o600, Some(self.account))
    }
}

/// Writes a file whole or not at all, giving it to `owner`.
pub(crate) fn replace(path: &Path, text: &str, mode: u32, owner: Option<Account>) -> Result<()> {
    let draft = path.with_extension("new");
    let write = || -> io::Result<()> {
        if fs::symlink_metadata(&draft).is_ok() {
            fs::remove_file(&draft)?;
        }
        let mut file = options().write(true).create_new(true).mode(mode).open(&draft)?;
        if let Some(owner) = owner {
            owner.own(&file)?;
        }
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// The text of a small file, if it is there.
pub(crate) fn read(path: &Path) -> Result<Option<String>> {
    let mut text = String::new();
    let read = options().read(true).open(path).and_then(|file| file.take(TAIL_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
    options
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn hold(path: &Path, data_dir: &Path) -> Result<File> {
    let lock = options()
        .read(true)
        .write(true)
        .create(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(EmbeddedError::InUse { data_dir: data_dir.to_owned() }.into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
    }
}

/// Where the home is or shall be: in `data_dir`, unless `account` cannot get there.
fn place(data_dir: &Path, account: Account, outside: &Outside) -> Result<PathBuf> {
    let home = data_dir.join("postgres");
    let closed = account.obstacle(data_dir)?;
    match fs::symlink_metadata(&home) {
        Ok(found) if found.is_symlink() => {
            if let Some(target) = linked(&home, account, outside)? {
                return Ok(target);
            }
        }
        Ok(_) => match &closed {
            None => return Ok(home),
            Some(closed) if fs::remove_dir(&home).is_err() => bail!(
                "the server runs as {account}, who cannot enter {} to reach {}: \
                 allow it (chmod o+x {})",
                closed.display(),
                home.display(),
                closed.display()
            ),
            Some(_) => {}
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", home.display())),
    }
    let Some(closed) = closed else {
        return Ok(home);
    };
    let path = data_dir.as_os_str().as_encoded_bytes();
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_URL, path).simple().to_string();
    let target = outside.pick(&hash[..16], account)?;
    tracing::info!(
        closed = %closed.display(),
        target = %target.display(),
        "the database's user cannot enter the data directory, so the database lies elsewhere"
    );
    account.private_dir(&target)?;
    reach::link(&target, &home)?;
    Ok(target)
}

/// Where the symlink `home` leads; nowhere, and then it is gone, when root's place outside the
/// data directory was lost (a container that was made anew).
fn linked(home: &Path, account: Account, outside: &Outside) -> Result<Option<PathBuf>> {
    let target = fs::read_link(home).with_context(|| format!("reading {}", home.display()))?;
    let there = home.exists();
    if !account.switches() || !outside.is_one(&target) {
        if !there {
            bail!(
                "{} leads to {}, which is not there: restore it, or remove the link \
                 to begin with an empty database",
                home.display(),
                target.display()
            );
        }
        if account.switches() {
            bail!(
                "{} leads to {}, which was not put there by watchkeeper: remove the link, \
                 or run as the user the database belongs to",
                home.display(),
                target.display()
            );
        }
        let found = home.canonicalize();
        return found.map(Some).with_context(|| format!("resolving {}", home.display()));
    }
    if there {
        return Ok(Some(target));
    }
    tracing::warn!(target = %target.display(), "the database's directory is gone; making it anew");
    fs::remove_file(home).with_context(|| format!("removing {}", home.display()))?;
    Ok(None)
}

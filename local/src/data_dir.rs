//! The data directory: one stack at a time, and the `env` file from which scripts and other commands learn where it is.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use shared::config::token_problem;
use shared::dsn::DsnSecret;

/// The file that a running stack leaves for `psql` and scripts: `DATABASE_URL=…`, `WATCHKEEPER_URL=…`, `DSN_SECRET=…`, and its
/// tokens.
#[must_use]
pub fn env_file(data_dir: &Path) -> PathBuf {
    data_dir.join("env")
}

/// The value of a variable in the text of that file.
#[must_use]
pub fn value(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(unquoted)
}

/// The value, as a shell reads it: in single quotes, where there is anything in it that a shell would not take as it stands.
#[must_use]
pub fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~:/?=@%,+[]".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', "'\\''")) }
}

fn unquoted(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(inner) => inner.replace("'\\''", "'"),
        None => value.to_owned(),
    }
}

/// Whether a stack runs in this directory: a process holds its lock, which the system releases however that process ends.
///
/// # Errors
/// When the lock can't be looked at.
pub fn is_taken(data_dir: &Path) -> std::io::Result<bool> {
    let lock = match File::open(data_dir.join("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Shared: those who look don't see each other.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Takes the lock. Who only looks whether it is taken ([`is_taken`]) holds it for a moment, which is waited for.
fn take_lock(lock: &File) -> Result<(), TryLockError> {
    const ATTEMPTS: u32 = 10;
    for _ in 1..ATTEMPTS {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
    lock.try_lock()
}

/// A data directory that belongs to this process until it ends.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if there is none, and takes it. No `env` file is in it then.
    ///
    /// # Errors
    /// When another stack has it, or it can't be written to.
    pub fn take(path: &Path) -> anyhow::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .with_context(|| format!("make the data directory {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .with_context(|| format!("open {}", file.display()))?;
        match take_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message: an empty pid is still a clear sentence.
                let _ = lock.read_to_string(&mut pid);
                bail!(
                    "another watchkeeper (process {}) is running on {}: stop it, or choose another --data-dir",
                    pid.trim(),
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", file.display()));
            }
        }
        lock.set_len(0)?;
        lock.rewind()?;
        write!(lock, "{}", std::process::id())?;
        let this = Self { path, _lock: lock };
        // What a stack left that was killed names an address that another process may have by now.
        this.remove_env();
        Ok(this)
    }

    /// The directory, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret of this directory's DSN keys, made at the first start: DSNs outlive restarts.
    ///
    /// # Errors
    /// When its file can't be read or written, or holds no secret.
    pub fn dsn_secret(&self) -> anyhow::Result<DsnSecret> {
        let (file, text) = self.secret("dsn_secret")?;
        DsnSecret::new(SecretString::from(text))
            .with_context(|| format!("{} is damaged; without it a new one is made, and DSNs change", file.display()))
    }

    /// A token of this directory's stack, in the file of this name, made at the first start: what was noted stays true.
    ///
    /// # Errors
    /// When its file can't be read or written, or holds no token.
    pub fn token(&self, name: &str) -> anyhow::Result<SecretString> {
        let (file, text) = self.secret(name)?;
        match token_problem(&text) {
            None => Ok(SecretString::from(text)),
            Some(what) => bail!("{} is damaged ({what}): remove it, and a new one is made", file.display()),
        }
    }

    /// The secret in the file of this name; 256 random bits where there is none yet.
    fn secret(&self, name: &str) -> anyhow::Result<(PathBuf, String)> {
        let file = self.path.join(name);
        keep_private(&file)?;
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let random = || uuid::Uuid::new_v4().simple();
                let text = format!("{}{}", random(), random());
                self.write_private(name, &text)?;
                text
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        };
        Ok((file, text))
    }

    /// Writes for scripts and other commands where the stack is, and which tokens it takes.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_env(&self, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let lines: String = variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
        self.write_private("env", &lines)
    }

    /// A file that only its owner can read, since it holds secrets: there whole, or not at all.
    fn write_private(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let file = self.path.join(name);
        let new = self.path.join(format!("{name}.new"));
        let write = || -> std::io::Result<()> {
            if new.exists() {
                std::fs::remove_file(&new)?;
            }
            let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            open.write_all(text.as_bytes())?;
            open.sync_all()?;
            std::fs::rename(&new, &file)
        };
        write().with_context(|| format!("write {}", file.display()))
    }

    /// Takes back what [`Self::write_env`] wrote: nothing is there any more.
    pub fn remove_env(&self) {
        if let Err(error) = std::fs::remove_file(env_file(&self.path)) {
            tracing::debug!(%error, "no env file to remove");
        }
    }
}

/// Closes a file of a secret to other users of the machine: one that they can read becomes private, one that they
/// could have written is refused.
fn keep_private(file: &Path) -> anyhow::Result<()> {
    let metadata = match std::fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
    };
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_file() {
        bail!("{} is no file: remove it, and a new one is made", file.display());
    }
    if mode & 0o022 != 0 {
        bail!("{} can be written by others (mode {mode:o}): remove it, and a new one is made", file.display());
    }
    if mode & 0o077 != 0 {
        std::fs::set_permissions(file, Permissions::from_mode(0o600))
            .with_context(|| format!("make {} private (mode 600)", file.display()))?;
        tracing::warn!("{} could be read by others (mode {mode:o}): it is private now", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_can_read_becomes_private_and_one_that_they_can_write_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("read_token");
        assert!(keep_private(&file).is_ok(), "there is none yet");
        std::fs::write(&file, "secret").unwrap();
        for (mode, is_taken) in [(0o600, true), (0o644, true), (0o640, true), (0o666, false), (0o620, false)] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(keep_private(&file).is_ok(), is_taken, "{mode:o}");
            let mode_now = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode_now == 0o600, is_taken, "{mode:o}");
        }
        assert!(keep_private(folder.path()).is_err(), "a folder");
    }
}

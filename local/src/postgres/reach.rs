//! The account that the server runs as, and the directories that it can access.
//!
//! Postgres refuses to run as root, so under root it runs as an unprivileged user, who can
//! access neither a 0700 directory nor anything below one. This module checks that access and
//! picks directories outside the data directory where it is missing.
//!
//! Invariants: nothing is created in, and no ownership is changed through, a symlink; a directory
//! that belongs to neither root nor the server's user is refused.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, Uid, User, access, getegid, geteuid};
use tokio::process::Command;

/// The uid and gid of the unprivileged user where the user database does not name it.
const UNPRIVILEGED: u32 = 65534;

/// The user the server's programs run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// Whether this is another user than this process's; only root can switch.
    switch: bool,
}

impl Account {
    /// This process's user. For root: the owner of the server's directory `home` if it exists, so
    /// that a user's server stays theirs under `sudo`, and otherwise the unprivileged user.
    pub(crate) fn for_home(home: &Path) -> Self {
        let uid = geteuid();
        if !uid.is_root() {
            return Self { uid: uid.as_raw(), gid: getegid().as_raw(), switch: false };
        }
        match fs::metadata(home) {
            Ok(found) if found.uid() != 0 => {
                Self::other(User::from_uid(Uid::from_raw(found.uid())), found.uid(), found.gid())
            }
            _ => Self::other(User::from_name("nobody"), UNPRIVILEGED, UNPRIVILEGED),
        }
    }

    fn other(user: nix::Result<Option<User>>, uid: u32, gid: u32) -> Self {
        let (uid, gid) = match user {
            Ok(Some(user)) => (user.uid.as_raw(), user.gid.as_raw()),
            _ => (uid, gid),
        };
        Self { uid, gid, switch: true }
    }

    /// Whether the server runs as another user than this process's.
    pub(crate) fn switches(self) -> bool {
        self.switch
    }

    /// Makes `command` run as this user.
    pub(crate) fn apply(self, command: &mut Command) {
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives an open file to this user.
    pub(crate) fn own(self, file: &File) -> io::Result<()> {
        if self.switch {
            fchown(file, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// Whether this user has all of `bits` (1 = enter or run, 4 = read) on what `found` describes.
    pub(crate) fn may(self, found: &Metadata, bits: u32) -> bool {
        let shift = if found.uid() == self.uid {
            6
        } else if found.gid() == self.gid {
            3
        } else {
            0
        };
        (found.mode() >> shift) & bits == bits
    }

    /// The first of `path` and its ancestors, from the root down, that this user cannot enter.
    /// `path` is canonical. Only another user is checked: for ours, the access itself fails.
    pub(crate) fn obstacle(self, path: &Path) -> Result<Option<PathBuf>> {
        if !self.switch {
            return Ok(None);
        }
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        for dir in ancestors {
            let found = fs::metadata(dir).with_context(|| format!("reading {}", dir.display()))?;
            if !self.may(&found, 1) {
                return Ok(Some(dir.to_owned()));
            }
        }
        Ok(None)
    }

    /// Makes `path` (or finds it) a directory of this user, closed to all others.
    pub(crate) fn private_dir(self, path: &Path) -> Result<()> {
        if let Ok(found) = fs::symlink_metadata(path) {
            self.check_owner(path, found.uid())?;
        }
        let dir = open_dir(path, 0o700)?;
        self.check_owner(path, dir.metadata()?.uid())?;
        self.own(&dir).with_context(|| format!("giving {} to user {}", path.display(), self.uid))?;
        dir.set_permissions(Permissions::from_mode(0o700))
            .with_context(|| format!("setting the mode of {}", path.display()))
    }

    fn check_owner(self, path: &Path, owner: u32) -> Result<()> {
        if owner != self.uid && !(self.switch && owner == 0) {
            bail!(
                "{} belongs to user {owner}, but the server runs as {self}: \
                 run as its owner (as root, if root made it), or move it to another place",
                path.display()
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "user {}", self.uid)
    }
}

/// Creates `path` with `mode` unless it is there, and opens it, refusing a symlink.
fn open_dir(path: &Path, mode: u32) -> Result<File> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).with_context(|| format!("creating {}", path.display()));
        }
    }
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY).bits())
        .open(path)
        .with_context(|| format!("opening {} as a directory of our own", path.display()))
}

/// Directories outside the data directory, for root only: used when the unprivileged user cannot
/// access the data directory, for example below `/root`.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    shared: PathBuf,
    fallback: PathBuf,
}

impl Default for Outside {
    fn default() -> Self {
        Self { shared: PathBuf::from("/var/lib/watchkeeper"), fallback: PathBuf::from("/var/tmp") }
    }
}

impl Outside {
    /// A path named after `name` whose parent exists, is ours to write in and open to `account`.
    pub(crate) fn pick(&self, name: &str, account: Account) -> Result<PathBuf> {
        let refused = match self.open_shared(account) {
            Ok(()) => return Ok(self.shared.join(name)),
            Err(refused) => refused,
        };
        let fallback = usable(&self.fallback, account)
            .with_context(|| format!("nor in {} ({refused:#})", self.shared.display()))
            .with_context(|| format!("no place that {account} can reach"));
        fallback.map(|()| self.fallback.join(format!("watchkeeper-{name}")))
    }

    /// Whether `pick` could have answered `path`.
    pub(crate) fn is_one(&self, path: &Path) -> bool {
        let named =
            |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("watchkeeper-"));
        path.parent() == Some(&self.shared) || (path.parent() == Some(&self.fallback) && named(path))
    }

    fn open_shared(&self, account: Account) -> Result<()> {
        let made = !self.shared.exists();
        let dir = open_dir(&self.shared, 0o755)?;
        if made {
            dir.set_permissions(Permissions::from_mode(0o755))?;
        }
        let owner = dir.metadata()?.uid();
        if owner != 0 && owner != account.uid {
            bail!("{} belongs to user {owner}, not to root", self.shared.display());
        }
        usable(&self.shared, account)
    }

    #[cfg(test)]
    pub(crate) fn at(shared: PathBuf, fallback: PathBuf) -> Self {
        Self { shared, fallback }
    }
}

fn usable(dir: &Path, account: Account) -> Result<()> {
    access(dir, AccessFlags::W_OK | AccessFlags::X_OK)
        .with_context(|| format!("{} cannot be written", dir.display()))?;
    match account.obstacle(dir)? {
        Some(closed) => bail!("{account} cannot enter {}", closed.display()),
        None => Ok(()),
    }
}

/// Makes `link` a symlink to `target`, which it may already be.
pub(crate) fn link(target: &Path, link: &Path) -> Result<()> {
    match symlink(target, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::read_link(link).with_context(|| format!("reading {}", link.display()));
            if found? == target {
                return Ok(());
            }
            Err(error)
        }
        other => other,
    }
    .with_context(|| format!("linking {} to {}", link.display(), target.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn scratch() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("wk-reach-{}", Uuid::new_v4().simple()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        dir.canonicalize().unwrap()
    }

    fn other_user() -> Account {
        Account { uid: 4_000_001, gid: 4_000_001, switch: true }
    }

    #[test]
    fn a_closed_ancestor_is_named() {
        let dir = scratch();
        let closed = dir.join("a/closed");
        let deep = closed.join("b");
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(other_user().obstacle(&deep).unwrap(), None);
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(other_user().obstacle(&deep).unwrap(), Some(closed));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_closed_or_linked_shared_place_is_passed_over() {
        let dir = scratch();
        let (closed, linked) = (dir.join("closed"), dir.join("linked"));
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        symlink(&dir, &linked).unwrap();
        for shared in [closed, linked, dir.join("no/parent")] {
            let outside = Outside::at(shared, dir.clone());
            let picked = outside.pick("x", other_user()).unwrap();
            assert_eq!(picked, dir.join("watchkeeper-x"));
            assert!(outside.is_one(&picked));
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_private_directory_is_never_a_symlink() {
        let dir = scratch();
        symlink("/", dir.join("trap")).unwrap();
        let account = Account::for_home(&dir.join("absent"));
        assert!(account.private_dir(&dir.join("trap")).is_err());
        account.private_dir(&dir.join("fine")).unwrap();
        let found = fs::metadata(dir.join("fine")).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (account.uid, 0o700));
        fs::remove_dir_all(dir).unwrap();
    }
}

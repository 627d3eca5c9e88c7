//! Places that the server's user can't reach, or that are not its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use local::postgres::EmbeddedConfig;
use local::postgres::embedded_postgres_dir;
use nix::unistd::geteuid;

use crate::server::{config, count, execute, home, start, stop};
use harness::scratch::{Scratch, processes};

/// A directory outside of the test's own; removed with it.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A directory that only we may enter.
fn closed(scratch: &Scratch) -> PathBuf {
    let closed = scratch.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    closed
}

#[tokio::test]
async fn a_place_closed_to_others_will_do() {
    let scratch = Scratch::new();
    closed(&scratch);
    let config = config(&scratch, "closed/data");
    let server = start(&config).await;
    execute(server.url(), "CREATE TABLE kept ()").await;
    stop(server).await;
    let server = start(&config).await;
    assert_eq!(count(server.url()).await, 0);
    stop(server).await;
    if geteuid().is_root() {
        let place = home(&config).canonicalize().unwrap();
        assert!(!place.starts_with(scratch.path()), "{}", place.display());
        // Lost, as in a container that was made anew: a new one is made.
        fs::remove_dir_all(place).unwrap();
        stop(start(&config).await).await;
        assert!(home(&config).canonicalize().unwrap().exists());
    }
}

#[tokio::test]
async fn programs_closed_to_others_will_do() {
    let scratch = Scratch::new();
    let site = closed(&scratch).join("site");
    let copied = Command::new("cp").arg("-a").arg(embedded_postgres_dir()).arg(&site).status();
    assert!(copied.unwrap().success());
    let config = EmbeddedConfig { install_dir: site, ..config(&scratch, "data") };
    let server = start(&config).await;
    let postmaster = processes().into_iter().find(|process| process.pid.as_raw() == server.pid().cast_signed());
    let program = postmaster.map(|process| process.command).unwrap_or_default();
    let program = Path::new(program.split(" -D ").next().unwrap_or_default());
    let copy = program.ancestors().nth(4).map(Path::to_owned);
    let _copy = copy.filter(|copy| geteuid().is_root() && copy.starts_with("/var")).map(Copy);
    execute(server.url(), "CREATE EXTENSION vector").await;
    stop(server).await;
    if geteuid().is_root() && program.is_absolute() {
        assert!(!program.starts_with(scratch.path()), "{}", program.display());
    }
}

#[tokio::test]
async fn under_root_a_server_stays_its_owner_s() {
    let owner = nix::unistd::User::from_name("daemon").unwrap();
    let Some(owner) = owner.filter(|_| geteuid().is_root()) else { return };
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let home = home(&config);
    fs::create_dir_all(&home).unwrap();
    let uid = owner.uid.as_raw();
    std::os::unix::fs::chown(&home, Some(uid), Some(owner.gid.as_raw())).unwrap();
    let server = start(&config).await;
    assert_eq!(fs::metadata(home.join("data")).unwrap().uid(), uid);
    stop(server).await;
}

#[tokio::test]
async fn a_long_path_will_do() {
    let scratch = Scratch::new();
    let deep = ["a directory, long and 'quoted'"; 9].join("/");
    let config = config(&scratch, &deep);
    assert!(config.data_dir.as_os_str().len() > 280);
    let server = start(&config).await;
    execute(server.url(), "SELECT 1").await;
    stop(server).await;
}

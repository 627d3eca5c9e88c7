//! What a run left behind that was killed, or that dropped its server: found, and ended or made use of.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use local::postgres::embedded_postgres_dir;
use local::postgres::{EmbeddedConfig, EmbeddedError, EmbeddedPostgres};

use crate::server::{config, connect, count, execute, home, pid_file, start, stop};
use harness::scratch::Scratch;

/// Set for the copy of this program that is to be killed.
const VICTIM_DIR: &str = "EMBEDDED_POSTGRES_VICTIM_DIR";

/// Ends a process with the test.
struct Other(std::process::Child);

impl Drop for Other {
    fn drop(&mut self) {
        // Both fail only where the test has ended it already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: the process that is killed in the next one.
#[tokio::test]
async fn victim() {
    let Some(dir) = std::env::var_os(VICTIM_DIR).map(PathBuf::from) else { return };
    let config = EmbeddedConfig {
        install_dir: embedded_postgres_dir(),
        data_dir: dir.join("data"),
        durable: false,
        max_connections: 20,
    };
    let server = start(&config).await;
    fs::write(dir.join("url.new"), server.url()).unwrap();
    fs::rename(dir.join("url.new"), dir.join("url")).unwrap();
    let killed = tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await;
    panic!("the victim was not killed: {killed:?}");
}

#[tokio::test]
async fn a_start_after_a_killed_run_takes_over() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "takeover::victim", "--nocapture"]).env(VICTIM_DIR, scratch.path());
    let mut victim = Other(command.spawn().unwrap());
    let (note, began) = (scratch.path().join("url"), Instant::now());
    while !note.exists() {
        assert_eq!(victim.0.try_wait().unwrap(), None, "the victim ended");
        assert!(began.elapsed() < Duration::from_secs(20), "the victim does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = fs::read_to_string(&note).unwrap();
    let orphan = pid_file(&config).unwrap();

    let second = EmbeddedPostgres::start(config.clone()).await.unwrap_err();
    assert!(matches!(second.downcast_ref(), Some(EmbeddedError::InUse { .. })), "{second:#}");
    victim.0.kill().unwrap();
    victim.0.wait().unwrap();
    execute(&url, "CREATE TABLE kept (); INSERT INTO kept DEFAULT VALUES").await;

    let server = start(&config).await;
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), orphan);
    assert_eq!(count(&url).await, 1);
    stop(server).await;
}

#[tokio::test]
async fn a_dropped_handle_takes_its_server_with_it() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let server = start(&config).await;
    let url = server.url().to_owned();
    drop(server);
    // At once: this start waits until the dropped one has gone.
    let server = start(&config).await;
    assert_eq!(server.url(), url);
    stop(server).await;
}

#[tokio::test]
async fn a_runtime_that_ends_takes_its_server_with_it() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let thread = std::thread::spawn(move || {
        let server = runtime.block_on(start(&config));
        let url = server.url().to_owned();
        // Nothing of the handle runs: only the end of the runtime can stop the server.
        std::mem::forget(server);
        drop(runtime);
        url
    });
    let url = thread.join().unwrap();
    let began = Instant::now();
    while connect(&url).await.is_ok() || !scratch.processes().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "it runs on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stale_lock_file_of_another_program_is_no_obstacle() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    stop(start(&config).await).await;
    let mut other = Other(Command::new("/bin/sleep").arg("60").spawn().unwrap());
    let lock = home(&config).join("data/postmaster.pid");
    let names_the_other = format!("{}\n/x\n1\n15001\n\n\n", other.0.id());
    fs::write(&lock, &names_the_other).unwrap();
    fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    let server = start(&config).await;
    assert_eq!(other.0.try_wait().unwrap(), None, "another program was ended");
    stop(server).await;
    other.0.kill().unwrap();
    // Dead and not collected by us: a zombie, as a container without an init collects them.
    fs::write(&lock, &names_the_other).unwrap();
    fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    stop(start(&config).await).await;
    other.0.wait().unwrap();
    // Of a postmaster that was killed while it wrote the file.
    fs::write(&lock, "").unwrap();
    stop(start(&config).await).await;
}

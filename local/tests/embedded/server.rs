//! One server of a test's own: its start, its stop, and what it answers.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use local::postgres::embedded_postgres_dir;
use local::postgres::{EmbeddedConfig, EmbeddedPostgres};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::{Client, NoTls};

use harness::scratch::Scratch;

/// A server on a directory inside of the scratch one.
pub(crate) fn config(scratch: &Scratch, inside: &str) -> EmbeddedConfig {
    EmbeddedConfig {
        install_dir: embedded_postgres_dir(),
        data_dir: scratch.path().join(inside),
        durable: false,
        max_connections: 20,
    }
}

pub(crate) async fn start(config: &EmbeddedConfig) -> EmbeddedPostgres {
    let began = Instant::now();
    let server = EmbeddedPostgres::start(config.clone()).await;
    let server = server.unwrap_or_else(|error| panic!("{error:#}"));
    eprintln!("start: {:?}", began.elapsed());
    server
}

pub(crate) async fn stop(server: EmbeddedPostgres) {
    let began = Instant::now();
    server.stop().await.unwrap();
    eprintln!("stop: {:?}", began.elapsed());
}

/// Why a start is refused, with all its causes.
pub(crate) async fn refusal(config: &EmbeddedConfig) -> String {
    format!("{:#}", EmbeddedPostgres::start(config.clone()).await.unwrap_err())
}

pub(crate) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) async fn execute(url: &str, sql: &str) {
    connect(url).await.unwrap().batch_execute(sql).await.unwrap();
}

/// The rows of the table `kept`.
pub(crate) async fn count(url: &str) -> i64 {
    let client = connect(url).await.unwrap();
    let row = client.query_one("SELECT count(*) FROM kept", &[]).await;
    row.unwrap().get(0)
}

/// Where the server's own directory is inside of the data directory.
pub(crate) fn home(config: &EmbeddedConfig) -> PathBuf {
    config.data_dir.join("postgres")
}

pub(crate) fn pid_file(config: &EmbeddedConfig) -> Option<u32> {
    let text = fs::read_to_string(config.data_dir.join("postgres.pid")).ok()?;
    Some(text.trim().parse().unwrap())
}

/// Kills the server, which may have died by itself just now.
pub(crate) fn kill_dead(pid: u32) {
    let killed = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    assert!(matches!(killed, Ok(()) | Err(Errno::ESRCH)), "{killed:?}");
}

/// Waits until the server is another process than this one.
pub(crate) async fn wait_new_process(server: &EmbeddedPostgres, old: u32) {
    let began = Instant::now();
    while server.pid() == old {
        assert!(began.elapsed() < Duration::from_secs(20), "it is not started again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the server answers.
pub(crate) async fn wait_answer(url: &str, config: &EmbeddedConfig) -> Duration {
    let began = Instant::now();
    while connect(url).await.is_err() {
        if began.elapsed() > Duration::from_secs(20) {
            let log = fs::read_to_string(home(config).join("server.log"));
            panic!("no answer; the log: {}", log.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

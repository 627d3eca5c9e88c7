//! `with-postgres COMMAND…`: runs a command with a Postgres server for tests, and ends with its exit code.
//!
//! The server is the embedded one, in a temporary directory that is removed afterwards, with a migrated template
//! database. The command finds it in `WATCHKEEPER_TEST_SERVER`.
#![expect(clippy::print_stderr, reason = "a tool of the developers, not of the product")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use harness::{AGENT, AGENT_PASSWORD, SERVER_VARIABLE, TEMPLATE};
use local::postgres::{EmbeddedConfig, EmbeddedPostgres};
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else { bail!("usage: with-postgres COMMAND [ARGUMENT…]") };
    let folder = tempfile::Builder::new().prefix("watchkeeper-test-").tempdir()?;
    // As root, the server runs as another user, who has to reach this folder.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let server = EmbeddedPostgres::start(EmbeddedConfig {
        install_dir: local::postgres::embedded_postgres_dir(),
        data_dir: folder.path().to_owned(),
        durable: false,
        max_connections: 300,
    })
    .await?;
    let result = run(&server, Command::new(program).args(arguments)).await;
    server.stop().await?;
    folder.close().context("remove the server's files")?;
    result
}

async fn run(server: &EmbeddedPostgres, command: &mut Command) -> anyhow::Result<ExitCode> {
    let (client, connection) = tokio_postgres::connect(&server.url_for("postgres"), tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {TEMPLATE}")).await?;
    drop(client);
    connection.await??;
    let template = DatabaseConfig::at(SecretString::from(server.url_for(TEMPLATE)));
    local::migrations::apply(&template).await?;
    let (client, connection) = tokio_postgres::connect(&server.url_for("postgres"), tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    // As an operator does after the first migration.
    client.batch_execute(&format!("ALTER ROLE {AGENT} LOGIN PASSWORD '{AGENT_PASSWORD}'")).await?;
    drop(client);
    connection.await??;
    let url = server.url();
    let address = url.rsplit_once('/').map_or(url, |(address, _)| address);
    let mut child = command.env(SERVER_VARIABLE, address).kill_on_drop(true).spawn().context("start the command")?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = interrupt.recv() => child.wait().await?,
        _ = terminate.recv() => {
            eprintln!("with-postgres: terminated");
            child.kill().await?;
            child.wait().await?
        }
    };
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

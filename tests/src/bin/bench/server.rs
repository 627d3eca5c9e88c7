//! The Postgres that a benchmark runs on, and the stack on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use local::postgres::{EmbeddedConfig, EmbeddedPostgres};
use secrecy::SecretString;
use serde_json::Value;
use shared::config::DatabaseConfig;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls};

use crate::process;

/// The same number as in the local stack.
const MAX_CONNECTIONS: u16 = 100;

/// An embedded Postgres with a migrated database.
pub(crate) struct Server {
    postgres: EmbeddedPostgres,
    folder: PathBuf,
    /// The benchmark's own connection.
    pub(crate) client: Client,
}

impl Server {
    /// Starts it in this folder, which is created; `durable` = commits wait for the disk.
    pub(crate) async fn start(folder: &Path, durable: bool) -> anyhow::Result<Self> {
        let postgres = EmbeddedPostgres::start(EmbeddedConfig {
            install_dir: local::postgres::embedded_postgres_dir(),
            data_dir: folder.to_owned(),
            durable,
            max_connections: MAX_CONNECTIONS,
        })
        .await?;
        let config = DatabaseConfig::at(SecretString::from(postgres.url()));
        local::migrations::apply(&config).await?;
        let (client, connection) = tokio_postgres::connect(postgres.url(), NoTls).await?;
        tokio::spawn(connection);
        Ok(Self { postgres, folder: folder.to_owned(), client })
    }

    /// Its connection string.
    pub(crate) fn url(&self) -> &str {
        self.postgres.url()
    }

    /// The folder for files beside its own.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its version.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let row = self.client.query_one("SELECT current_setting('server_version')", &[]).await?;
        Ok(row.try_get(0)?)
    }

    /// Gives each measurement the same start: vacuumed and checkpointed.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        self.client.batch_execute("VACUUM (ANALYZE)").await?;
        Ok(self.client.batch_execute("CHECKPOINT").await?)
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> anyhow::Result<usize> {
        let row = self.client.query_one(&format!("SELECT count(*) FROM public.{table}"), &[]).await?;
        Ok(usize::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Stops it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.client);
        self.postgres.stop().await
    }
}

/// `watchkeeper start` on a server; ends when dropped.
pub(crate) struct Stack {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Stack {
    /// Starts the release binary.
    pub(crate) async fn start(server: &Server) -> anyhow::Result<Self> {
        Self::start_with(server, &[]).await
    }

    /// Starts it with further environment variables.
    pub(crate) async fn start_with(server: &Server, environment: &[(&str, String)]) -> anyhow::Result<Self> {
        let mut process = Command::new(beside("watchkeeper")?)
            .args(["start", "--json", "--port", "0", "--data-dir"])
            .arg(server.folder().join("stack"))
            .env_clear()
            .env("DATABASE_URL", server.url())
            // As on the server that the stack starts itself.
            .env("DATABASE_PREPARED_STATEMENTS", "true")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start watchkeeper")?;
        let output = process.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line())
            .await
            .context("watchkeeper did not start")??;
        let introduction: Value = serde_json::from_str(&line.context("watchkeeper exited at once")?)?;
        let url = introduction["url"].as_str().context("watchkeeper reports no url")?;
        Ok(Self { address: url.trim_start_matches("http://").parse()?, process })
    }

    /// Its current memory, in megabytes (10^6 bytes); none where there is no /proc.
    pub(crate) fn memory_mb(&self) -> Option<f64> {
        process::memory_mb(self.process.id())
    }

    /// The processor time that it has used so far; none where there is no /proc.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        process::cpu_time(self.process.id())
    }
}

/// A binary of the same build as this one.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let file = std::env::current_exe()?.with_file_name(name);
    ensure!(file.is_file(), "{} is not built: run `make bench`", file.display());
    Ok(file)
}

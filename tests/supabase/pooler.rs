//! `PgBouncer` in transaction mode in front of a test's database, started by the test.

use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr as _;

use harness::{AGENT, AGENT_PASSWORD};
use nix::sys::signal::Signal;
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use shared::store::{PoolSize, Store};
use tempfile::TempDir;
use tokio_postgres::Config;

use crate::certificates::Identity;
use crate::program::{Program, Start, find, folder, write};

const MISSING: &str = "no `pgbouncer` in PATH or /usr/sbin: these tests need it (Debian: `apt-get install pgbouncer`)";

/// Backends that all clients share.
pub(crate) const BACKENDS: usize = 2;

/// A running `PgBouncer`; when dropped, it stops and its files are removed.
pub(crate) struct Pooler {
    program: Option<Program>,
    port: u16,
    database: Config,
    folder: TempDir,
}

impl Pooler {
    /// Starts it in front of this database; clients log in by SCRAM, as with Supabase.
    pub(crate) async fn start(database_url: &str) -> Self {
        Self::start_with(database_url, "").await
    }

    /// Starts one that accepts encrypted connections only, with this certificate.
    pub(crate) async fn start_encrypted(database_url: &str, identity: &Identity) -> Self {
        let files = folder();
        let certificates = write(files.path(), "server.crt", &identity.certificates);
        let key = write(files.path(), "server.key", &identity.key);
        let settings = format!(
            "client_tls_sslmode = require\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n",
            certificates.display(),
            key.display()
        );
        // PgBouncer has read them once it serves.
        Self::start_with(database_url, &settings).await
    }

    /// Starts one with a cheap authentication: SCRAM takes a debug build some 60 ms of CPU, and on a busy machine a crowd of
    /// clients would time out.
    pub(crate) async fn start_for_a_crowd(database_url: &str) -> Self {
        Self::start_with(database_url, "auth_type = md5\n").await
    }

    async fn start_with(database_url: &str, settings: &str) -> Self {
        let folder = folder();
        let database = Config::from_str(database_url).unwrap();
        let password = String::from_utf8(database.get_password().unwrap().to_vec()).unwrap();
        let owner = database.get_user().unwrap();
        let users = format!("\"{owner}\" \"{password}\"\n\"{AGENT}\" \"{AGENT_PASSWORD}\"\n");
        let users = write(folder.path(), "userlist.txt", &users);
        let upstream = database.get_ports()[0];
        let binary = binary();
        let configuration = |port: u16| {
            format!(
                "[databases]\n* = host=127.0.0.1 port={upstream}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n\
                pool_mode = transaction\ndefault_pool_size = {BACKENDS}\nmax_client_conn = 500\n\
                server_tls_sslmode = disable\n{settings}",
                users.display()
            )
        };
        let command = |port| {
            let mut command = Command::new(&binary);
            command.arg(write(folder.path(), "pgbouncer.ini", &configuration(port)));
            command
        };
        let program = Program::on_a_free_port(&start(&folder), command).await;
        Self { port: program.port(), program: Some(program), database, folder }
    }

    /// Stops it, which closes every connection; then starts it again on the same port.
    pub(crate) async fn restart(&mut self) {
        self.program = None;
        let mut command = Command::new(binary());
        command.arg(self.folder.path().join("pgbouncer.ini"));
        self.program = Some(Program::on_port(&start(&self.folder), self.port, command).await.unwrap());
    }

    /// The database's connection string through it, as in Supabase's dashboard.
    pub(crate) fn url(&self) -> String {
        self.url_with("127.0.0.1", "?sslmode=disable&pgbouncer=true")
    }

    /// The same with another host name for this machine, and other options.
    pub(crate) fn url_with(&self, host: &str, options: &str) -> String {
        let (user, name) = (self.database.get_user().unwrap(), self.database.get_dbname().unwrap());
        let password = String::from_utf8_lossy(self.database.get_password().unwrap());
        format!("postgresql://{user}:{password}@{host}:{}/{name}{options}", self.port)
    }

    /// A pool of a process of its own.
    pub(crate) fn store(&self) -> Store {
        let config = DatabaseConfig::at(SecretString::from(self.url()));
        Store::new(&config, "test", PoolSize::LAMBDA).unwrap()
    }
}

fn start(folder: &TempDir) -> Start<'_> {
    Start { folder: folder.path(), says_when_ready: "process up", end_with: Signal::SIGTERM }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Its folder is not in every user's PATH.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    find(folders.map(|folder| folder.join("pgbouncer")), MISSING)
}

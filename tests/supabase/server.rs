//! Debian's PostgreSQL with TLS, started by a test. It has no pgvector, so nothing is migrated there.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::certificates::Identity;
use crate::program::{Program, Start, find, folder, unprivileged, write};

const MISSING: &str = "no PostgreSQL server in /usr/lib/postgresql/*/bin: these tests need one that speaks TLS \
    (Debian: `apt-get install postgresql`)";
const PASSWORD: &str = "s3cret";

/// A running server; when dropped, it stops and its files are removed.
pub(crate) struct Server {
    program: Program,
    _folder: TempDir,
}

impl Server {
    /// Starts one with this certificate.
    pub(crate) async fn start(identity: &Identity) -> Self {
        let folder = folder();
        let (data, postgres) = (folder.path().join("data"), find(postgres(), MISSING));
        let password = write(folder.path(), "password", PASSWORD);
        let mut initdb = Command::new(postgres.with_file_name("initdb"));
        initdb.args(["--no-sync", "--auth=scram-sha-256", "--username=watchkeeper", "--locale=C", "--encoding=UTF8"]);
        initdb.arg("--pwfile").arg(password).arg("--pgdata").arg(&data);
        let output = unprivileged(&mut initdb).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{initdb:?}: {}", String::from_utf8_lossy(&output.stderr));
        write(&data, "server.crt", &identity.certificates);
        write(&data, "server.key", &identity.key);
        let start = Start {
            folder: folder.path(),
            says_when_ready: "database system is ready to accept connections",
            end_with: Signal::SIGINT,
        };
        let command = |port: u16| {
            let mut command = Command::new(&postgres);
            command.current_dir(folder.path()).arg("-D").arg(&data);
            let port = format!("port={port}");
            for setting in
                ["ssl=on", "fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", port.as_str()]
            {
                command.args(["-c", setting]);
            }
            command
        };
        Self { program: Program::on_a_free_port(&start, command).await, _folder: folder }
    }

    /// Its connection string with this host name and these options (`?sslmode=require`).
    pub(crate) fn url(&self, host: &str, options: &str) -> String {
        format!("postgresql://watchkeeper:{PASSWORD}@{host}:{}/postgres{options}", self.program.port())
    }
}

/// The servers that Debian's packages install.
fn postgres() -> impl Iterator<Item = PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin/postgres"))
}

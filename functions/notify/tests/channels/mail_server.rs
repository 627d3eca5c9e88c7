//! A real mail server on the loopback interface: aiosmtpd, in a process of its own that ends with the test.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Where `make` puts aiosmtpd, seen from the project's folder.
const AIOSMTPD: &str = ".tools/aiosmtpd";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/channels/smtp_server.py");

pub(crate) struct MailServer {
    port: u16,
    said: UnboundedReceiver<String>,
    _process: Child,
}

impl MailServer {
    /// A server with these wishes; see its program.
    pub(crate) async fn start(wishes: &Value) -> Self {
        let mut process = Command::new("python3")
            .arg(PROGRAM)
            .arg(wishes.to_string())
            .env("PYTHONPATH", folder())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Read at once: a server that waits for its reader would answer no client meanwhile.
        let (say, mut said) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = say.send(line);
            }
        });
        let port = said.recv().await.unwrap().parse().unwrap();
        Self { port, said, _process: process }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next e-mail that it has taken.
    pub(crate) async fn taken(&mut self) -> Value {
        serde_json::from_str(&self.said.recv().await.unwrap()).unwrap()
    }
}

/// The only header of this name.
pub(crate) fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let all: Vec<_> = mail["headers"].as_array().unwrap().iter().filter(|it| it[0] == name).collect();
    assert_eq!(all.len(), 1, "{name}: {mail}");
    all[0][1].as_str().unwrap()
}

fn folder() -> PathBuf {
    let here = std::env::current_dir().unwrap();
    let found = here.ancestors().map(|folder| folder.join(AIOSMTPD)).find(|folder| folder.is_dir());
    found.unwrap_or_else(|| panic!("aiosmtpd is not in {AIOSMTPD}: run `make test`, which installs it"))
}

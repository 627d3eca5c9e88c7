//! `watchkeeper migrate`: brings the schema up to date.

use std::process::ExitCode;

use serde_json::json;

use crate::args::Global;
use crate::config::Config;
use crate::migrations;
use crate::output::say;

pub(super) async fn run(global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let applied = migrations::apply(&config.migrations(&global.data_dir)?).await?;
    if global.json {
        say(json!({ "applied": applied }));
    } else if applied.is_empty() {
        say("The schema is up to date.");
    } else {
        for name in &applied {
            say(format_args!("applied {name}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

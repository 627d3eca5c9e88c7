//! `watchkeeper migrate`: applies the pending migrations.

use std::process::ExitCode;

use local::migrations;
use serde_json::json;

use crate::args::Global;
use crate::config::Config;
use crate::output::say;
use crate::selection::Target;

pub(super) async fn run(global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let database = Target::of(config, &global.data_dir)?.migrations()?;
    let applied = migrations::apply(&database).await?;
    let left = migrations::grant_agent(&database).await?;
    if global.json {
        say(json!({ "applied": applied, "left_to_run": left }));
        return Ok(ExitCode::SUCCESS);
    }
    if applied.is_empty() {
        say("The schema is up to date.");
    } else {
        for name in &applied {
            say(format_args!("applied {name}"));
        }
    }
    if !left.is_empty() {
        say("The role watchkeeper_agent, which the functions log in as, is not complete. Left for you to run:");
        for statement in &left {
            say(format_args!("  {statement}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

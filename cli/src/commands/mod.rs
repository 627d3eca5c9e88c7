//! One file per command. Exit codes: 0 healthy or done, 1 unhealthy or failed, 2 wrong use.

mod alerts;
mod apply;
mod apps;
mod check;
mod incident;
pub mod incidents;
mod migrate;
mod notifications;
mod page;
mod react;
mod send_test_error;
mod silence;
mod start;
mod status;

use std::process::ExitCode;

use shared::config::Environment;

use crate::args::{Arguments, Command};
use crate::config::Config;
use crate::logs;
use crate::output::{self, Misuse};

/// Runs the command.
///
/// # Errors
/// Why the command failed; printed by `main`, exit code 1.
pub async fn run(arguments: Arguments, environment: Environment<'_>) -> anyhow::Result<ExitCode> {
    let config = match environment.read(Config::read) {
        Ok(config) => config,
        Err(error) => return Ok(output::misused(error)),
    };
    // A stack may outlive its terminal; its logs have what was printed.
    let is_stack = matches!(arguments.command, Command::Start(_));
    let result = run_with(arguments, config).await;
    let result = result.and_then(|code| if is_stack { Ok(code) } else { output::check_written().map(|()| code) });
    // Wrong use has its own exit code, wherever it was detected.
    match result {
        Err(error) => error.downcast::<Misuse>().map(output::misused),
        done => done,
    }
}

async fn run_with(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let global = &arguments.global;
    if !matches!(arguments.command, Command::Start(_)) {
        logs::to_terminal(config.rust_log.as_deref());
    }
    match arguments.command {
        Command::Start(start) => start::run(start, global, config).await,
        Command::Migrate => migrate::run(global, &config).await,
        Command::Apply(apply) => apply::run(&apply, global, &config).await,
        Command::Check => check::run(global, config).await,
        Command::Status => status::run(global, &config).await,
        Command::Apps(apps) => apps::run(&apps, global, &config).await,
        Command::Incidents(incidents) => incidents::run(&incidents, global, &config).await,
        Command::Incident(wanted) => incident::run(&wanted, global, &config).await,
        Command::Alerts(wanted) => alerts::run(&wanted, global, &config).await,
        Command::Ack(react) => react::run(react::Action::Acknowledge, &react, global, &config).await,
        Command::Resolve(react) => react::run(react::Action::Resolve, &react, global, &config).await,
        Command::Silence(silence) => silence::run(&silence, global, &config).await,
        Command::Notifications(wanted) => notifications::run(&wanted, global, &config).await,
        Command::SendTestError(error) => send_test_error::run(&error, global, &config).await,
    }
}

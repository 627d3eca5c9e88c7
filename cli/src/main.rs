//! The binary `watchkeeper`.

use std::process::ExitCode;

use clap::Parser as _;
use shared::config::Environment;
use watchkeeper::args::Arguments;
use watchkeeper::{commands, output};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::failed(&error.into()),
    };
    let result = runtime.block_on(commands::run(arguments, Environment::of_process()));
    // Background work (a hung check) must not block the exit.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| output::failed(&error))
}

//! The Lambda binary of `sentry-envelope`.

use lambda_runtime::spawn_graceful_shutdown_handler;
use sentry_envelope::App;
use sentry_envelope::app::Config;
use shared::config::Environment;
use shared::{gateway, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let environment = Environment::of_process();
    telemetry::init(environment.optional("RUST_LOG").as_deref());
    let app = App::for_lambda(environment.read(Config::read)?)?;
    let closing = app.clone();
    // Both wait for other processes: concurrently.
    tokio::join!(spawn_graceful_shutdown_handler(move || async move { closing.close().await }), app.warm_up());
    gateway::serve(sentry_envelope::router(app)).await
}

//! The Lambda binary of `status`.

use lambda_runtime::spawn_graceful_shutdown_handler;
use shared::config::Environment;
use shared::{gateway, telemetry};
use status::App;
use status::app::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let environment = Environment::of_process();
    telemetry::init(environment.optional("RUST_LOG").as_deref());
    let app = App::for_lambda(environment.read(Config::read)?)?;
    let closing = app.clone();
    spawn_graceful_shutdown_handler(move || async move { closing.close().await }).await;
    gateway::serve(status::router(app)).await
}

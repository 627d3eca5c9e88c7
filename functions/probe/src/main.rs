//! The Lambda binary of `probe`.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use chrono::Utc;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn, spawn_graceful_shutdown_handler};
use probe::App;
use probe::app::Config;
use serde_json::Value;
use shared::config::Environment;
use shared::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::init(environment.optional("RUST_LOG").as_deref());
    let app = App::for_lambda(environment.read(Config::read)?)?;
    let closing = app.clone();
    spawn_graceful_shutdown_handler(move || async move { closing.close() }).await;
    let app = &app;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<EventBridgeEvent<Value>>| {
        let scheduled = event.payload.time.unwrap_or_else(Utc::now);
        probe::handle(app, scheduled)
            .await
            .map(|_| ())
            .map_err(|error| Diagnostic { error_type: "RoundFailed".to_owned(), error_message: format!("{error:#}") })
    }))
    .await
}

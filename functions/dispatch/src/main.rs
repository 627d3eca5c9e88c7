//! The Lambda binary of `dispatch`.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use chrono::Utc;
use dispatch::App;
use dispatch::app::Config;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn, spawn_graceful_shutdown_handler};
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
    lambda_runtime::run(service_fn(async move |_: LambdaEvent<EventBridgeEvent<Value>>| {
        dispatch::handle(app, Utc::now())
            .await
            .map(|_| ())
            .map_err(|error| Diagnostic { error_type: "SweepFailed".to_owned(), error_message: format!("{error:#}") })
    }))
    .await
}

//! The Lambda binary of `dispatch`.

use aws_lambda_events::sqs::SqsEvent;
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
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| handle(app, event.payload).await)).await
}

/// Handles a batch of the queue, or the minute's schedule.
async fn handle(app: &App, event: Value) -> Result<Value, Diagnostic> {
    if event.get("Records").is_some() {
        let batch: SqsEvent = serde_json::from_value(event).map_err(|error| failed("UnknownEvent", error.into()))?;
        let response = dispatch::announce_for(app, batch, Utc::now()).await;
        return serde_json::to_value(response).map_err(|error| failed("AnswerFailed", error.into()));
    }
    dispatch::handle(app, Utc::now()).await.map(|_| Value::Null).map_err(|error| failed("SweepFailed", error))
}

fn failed(kind: &str, error: anyhow::Error) -> Diagnostic {
    Diagnostic { error_type: kind.to_owned(), error_message: format!("{error:#}") }
}

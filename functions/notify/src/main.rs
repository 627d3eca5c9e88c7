//! The Lambda binary of `notify`: the queue of events, and the minute.

use std::time::Duration;

use anyhow::Context as _;
use aws_lambda_events::sqs::SqsEvent;
use chrono::Utc;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn, spawn_graceful_shutdown_handler};
use notify::app::Config;
use notify::{App, parameters};
use serde_json::{Value, json};
use shared::config::Environment;
use shared::telemetry;

/// A batch that has failed is not begun again after this time: the function has 60 s, of which one batch may take 45.
const PATIENCE: Duration = Duration::from_secs(12);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::init(environment.optional("RUST_LOG").as_deref());
    let environment = parameters::with_certificates(environment, Utc::now()).await?;
    let app = App::for_lambda(environment.read(Config::read)?)?;
    let closing = app.clone();
    spawn_graceful_shutdown_handler(move || async move { closing.close() }).await;
    let app = &app;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        invoke(app, event.payload)
            .await
            .map_err(|error| Diagnostic { error_type: "NotifyFailed".to_owned(), error_message: format!("{error:#}") })
    }))
    .await
}

/// A batch of the queue has records; the schedule has none.
async fn invoke(app: &App, payload: Value) -> anyhow::Result<Value> {
    if payload.get("Records").is_none() {
        notify::sweep(app, Utc::now()).await?;
        return Ok(json!({}));
    }
    let batch: SqsEvent = serde_json::from_value(payload).context("read the queue's batch")?;
    serde_json::to_value(notify::handle_patiently(app, batch, PATIENCE).await).context("write the answer")
}

//! The Lambda binary of `maintain`.

use std::time::{Duration, Instant, SystemTime};

use chrono::Utc;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn, spawn_graceful_shutdown_handler};
use maintain::App;
use maintain::app::Config;
use serde_json::Value;
use shared::config::Environment;
use shared::telemetry;

/// No batch begins in the last part of an invocation: one takes 5 s at most, and is retried once on a fresh connection.
const RESERVE: Duration = Duration::from_secs(15);

/// The time budget of a run where the runtime gives no deadline (`cargo lambda watch`).
const WITHOUT_DEADLINE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::init(environment.optional("RUST_LOG").as_deref());
    let app = App::for_lambda(&environment.read(Config::read)?)?;
    let closing = app.clone();
    spawn_graceful_shutdown_handler(move || async move { closing.close() }).await;
    let app = &app;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(WITHOUT_DEADLINE);
        let until = Instant::now() + left.saturating_sub(RESERVE);
        maintain::handle(app, Utc::now(), until)
            .await
            .map(|_| ())
            .map_err(|error| Diagnostic { error_type: "MaintenanceFailed".into(), error_message: format!("{error:#}") })
    }))
    .await
}

//! The Lambda binary of `replay`.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn, spawn_graceful_shutdown_handler};
use replay::App;
use replay::app::Config;
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
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(replay::handle(app, event.payload, event.context.deadline()).await)
    }))
    .await
}

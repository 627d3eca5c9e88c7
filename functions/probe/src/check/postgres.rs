//! `postgres`: whether a login succeeds, and whether measurements are within their limits. The connection string comes
//! from an environment variable; a CA of its own from the variable that ends in `_CA` instead of `_URL`.

mod limits;

use std::error::Error;
use std::io;

use secrecy::ExposeSecret as _;
use shared::config::{DatabaseConfig, Secrets, Statements};
use shared::model::FailureReason;
use shared::store::{ConnectionSettings, ServerAddress, StoreError, chain, vitals};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::Failure;
use super::attempt::{Context, Problem, Progress};
use crate::conditions::Answer;
use crate::net::{Host, Phase};

pub(super) async fn attempt(context: Context<'_>, progress: &mut Progress) -> Result<(), Problem> {
    let spec = &context.claimed.service.spec;
    let settings = settings(&spec.target, &context.tools.secrets)?;
    progress.trace.hop(spec.target.clone());
    let client = log_in(&context, &settings, progress).await?;
    progress.trace.start(Phase::FirstByte);
    let measured = vitals::read(&client).await.map_err(|error| failure_of(&context, &error))?;
    progress.trace.stop();
    progress.answered = Some(Instant::now());
    let before = context.claimed.measurements.as_ref();
    let new_deadlocks = limits::new_deadlocks(&measured, before);
    progress.measurements = Some(limits::to_json(&measured, new_deadlocks));
    context.hold(&Answer { connected: true, response_time: context.started.elapsed(), ..Answer::default() })?;
    match limits::reached(&measured, new_deadlocks, &spec.check.postgres) {
        Some(text) => Err(Problem::Degraded(Failure::new(FailureReason::Condition, text))),
        None => Ok(()),
    }
}

/// The connection settings from the variable that the target names.
fn settings(target: &str, secrets: &Secrets) -> Result<ConnectionSettings, Failure> {
    let misconfigured = |text: String| Failure::new(FailureReason::Misconfigured, text);
    let variable = target
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(|| misconfigured("the target names no variable".to_owned()))?;
    let url = secrets.get(variable).ok_or_else(|| misconfigured(format!("the variable {variable} is not set")))?;
    let ca = secrets.get(&format!("{}_CA", variable.strip_suffix("_URL").unwrap_or(variable)));
    let ca = ca.map(|ca| ca.expose_secret().to_owned());
    let config = DatabaseConfig { url, ca, statements: Statements::Unnamed };
    ConnectionSettings::parse(&config, "watchkeeper-probe")
        .map_err(|error| misconfigured(format!("the variable {variable} can't be used: {error}")))
}

/// Logs in at the first server that accepts us; else returns the last server's failure.
async fn log_in(
    context: &Context<'_>,
    settings: &ConnectionSettings,
    progress: &mut Progress,
) -> Result<Client, Failure> {
    let mut last = Failure::new(FailureReason::Misconfigured, "the connection string names no server");
    for server in settings.servers() {
        match log_in_at(context, settings, &server, progress).await {
            Ok(client) => return Ok(client),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

async fn log_in_at(
    context: &Context<'_>,
    settings: &ConnectionSettings,
    server: &ServerAddress,
    progress: &mut Progress,
) -> Result<Client, Failure> {
    let client = match server {
        ServerAddress::Tcp(name, port) => {
            let host = Host::parse(name)
                .ok_or_else(|| Failure::new(FailureReason::Misconfigured, "the connection string names no host"))?;
            let stream = context.tools.connector.connect(&host, *port, &mut progress.trace).await?;
            progress.trace.start(Phase::Tls);
            settings.log_in_over(stream, name).await
        }
        ServerAddress::Socket(path) => {
            progress.trace.start(Phase::Connect);
            let stream = UnixStream::connect(path).await.map_err(|error| Failure::of_io(&error))?;
            settings.log_in_over(stream, "").await
        }
    };
    progress.trace.stop();
    client.map_err(|error| failure_of(context, &error))
}

/// The failure of a login or a query.
fn failure_of(context: &Context<'_>, error: &StoreError) -> Failure {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(refusal) = cause.downcast_ref::<tokio_postgres::error::DbError>() {
            let code = refusal.code().code();
            // 28: login, 3D: no such database. Other errors may be temporary.
            let lasting = code.starts_with("28") || code.starts_with("3D");
            let reason = if lasting { FailureReason::Misconfigured } else { FailureReason::Protocol };
            let said = context.tools.redactor.text(refusal.message());
            return Failure::new(reason, format!("the server says: {said} ({code})"));
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            let failure = Failure::of_io(error);
            // Not a system error: the driver could not read the answer.
            let of_the_answer = failure.reason == FailureReason::Connect && error.raw_os_error().is_none();
            return if of_the_answer { no_postgres(context, &error.to_string()) } else { failure };
        }
        next = cause.source();
    }
    if matches!(error, StoreError::Unavailable(cause) if is_closed(cause.as_ref())) {
        return Failure::new(FailureReason::ConnectionReset, "the connection was closed without an answer");
    }
    no_postgres(context, &chain(error))
}

fn no_postgres(context: &Context<'_>, said: &str) -> Failure {
    let said = context.tools.redactor.text(said);
    Failure::new(FailureReason::Protocol, format!("the answer is not of the Postgres protocol: {said}"))
}

fn is_closed(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref::<tokio_postgres::Error>().is_some_and(tokio_postgres::Error::is_closed)
}

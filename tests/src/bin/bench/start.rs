//! `bench start`: size of the Lambda binaries, time to the first answer, and memory, on a Runtime API of our own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::Utc;
use harness::lambda::Lambda;
use harness::{Behaviour, Target};
use secrecy::SecretString;
use serde_json::Value;
use shared::config::DatabaseConfig;
use shared::model::{Kind, ServiceSpec};
use shared::store::services::{self, Wanted};
use shared::store::{PoolSize, Store};

use crate::figures::{Figures, verdict};
use crate::requests::{self, APPLICATION, DSN_SECRET, JOB, KEY};
use crate::server::{Server, beside};
use crate::{machine, process};

/// Starts that are measured; one before them fills the page cache.
const STARTS: usize = 30;
/// Memory is measured after so many requests.
const REQUESTS: usize = 1_000;

/// The aims: megabytes (10^6 bytes) of file and memory, milliseconds to the first answer.
const AIM_FILE_MB: f64 = 9.0;
const AIM_MEMORY_MB: f64 = 20.0;
const AIM_START_MS: f64 = 15.0;

/// Makes the event of the nth invocation.
type MakeEvent = fn(usize) -> Value;

/// The functions, each with its request. Notifying comes before acknowledging, and that before resolving.
const FUNCTIONS: [(&str, &str, MakeEvent); 12] = [
    ("report-error", "a 1 kB report", requests::report_error),
    ("sentry-webhook", "a signed `error`", requests::sentry_webhook),
    ("sentry-envelope", "an event of the Python SDK", requests::sentry_envelope),
    ("heartbeat", "a beat", requests::heartbeat),
    ("status", "`/ready`, `/status`, `/api/incidents`", requests::status),
    ("probe", "a round of one service", requests::scheduled_minute),
    ("dispatch", "a sweep with nothing to do", requests::scheduled_minute),
    ("notify", "an incident, notified by webhook", requests::notify),
    ("slack-actions", "a button: acknowledge", requests::slack_actions),
    ("admin", "`POST /api/incidents/{id}/resolve`", requests::admin),
    ("pagerduty-events", "an incident that is not ours", requests::pagerduty_events),
    ("email-events", "an e-mail that is not ours", requests::email_events),
];

/// What the probe may ask here.
pub(crate) const LOOPBACK: &str = "127.0.0.0/8";

/// What was measured of one function.
struct Row {
    function: &'static str,
    request: &'static str,
    file_mb: f64,
    starts: Figures,
    warm: Figures,
    /// None where there is no /proc.
    memory_mb: Option<f64>,
}

/// Measures every function; the section for the results.
pub(crate) async fn run(folder: &Path) -> anyhow::Result<String> {
    let server = Server::start(folder, true).await?;
    let target = Target::start(Behaviour::Status(200)).await;
    configure(&server, &target).await?;
    let mut rows = Vec::new();
    for (function, request, event) in FUNCTIONS {
        rows.push(measure(&server, &target, function, request, event).await?);
    }
    let checks = server.count("service_health_checks").await?;
    ensure!(checks >= REQUESTS, "the probe made only {checks} checks");
    let sent = server.count("notifications WHERE status = 'sent'").await?;
    ensure!(sent >= REQUESTS, "only {sent} notifications were sent");
    let resolved = server.count("incidents WHERE status = 'resolved'").await?;
    ensure!(resolved >= REQUESTS, "only {resolved} incidents were resolved");
    let text = section(&server.version().await?, &rows)?;
    server.stop().await?;
    Ok(text)
}

/// One service and one job for the probe, one application for SDKs, incidents to notify of and to resolve.
async fn configure(server: &Server, target: &Target) -> anyhow::Result<()> {
    let config = DatabaseConfig::at(SecretString::from(server.url()));
    let store = Store::new(&config, "bench", PoolSize::LAMBDA)?;
    let mut job = ServiceSpec::http(JOB, "bench", "");
    job.kind = Kind::Heartbeat;
    let (specs, token_hashes) = ([target.spec("shop", "bench"), job], BTreeMap::from([(1, requests::token()?.hash())]));
    let wanted = &Wanted { services: &specs, token_hashes: &token_hashes, removed: &[], routing: None };
    store.run(|client| async move { services::apply(&client, wanted, Utc::now()).await }).await?;
    let invocations = STARTS + 1 + REQUESTS;
    let sql = format!(
        "INSERT INTO public.applications (number, name) VALUES ({APPLICATION}, 'bench');
        INSERT INTO public.incidents (incident_id, title, status, severity, category, application, error_message, fingerprint)
        SELECT 'INC-BENCH-' || number, 'Payment processing failed', 'detected', 'HIGH', 'backend', 'shop',
            'Payment processing failed', 'bench:' || number
        FROM generate_series(0, {invocations}) AS number"
    );
    server.client.batch_execute(&sql).await?;
    Ok(())
}

async fn measure(
    server: &Server,
    target: &Target,
    function: &'static str,
    request: &'static str,
    event: MakeEvent,
) -> anyhow::Result<Row> {
    let (public_key, receiver) = (requests::sendgrid_key(), target.url());
    let environment = [
        ("DATABASE_URL", server.url()),
        ("ADMIN_TOKEN", KEY),
        ("INGEST_API_KEY", KEY),
        ("NOTIFY_WEBHOOK_URL", &*receiver),
        ("NOTIFY_WEBHOOK_SECRET", requests::WEBHOOK_SECRET),
        ("PAGERDUTY_WEBHOOK_SECRET", KEY),
        ("SENDGRID_WEBHOOK_PUBLIC_KEY", &*public_key),
        ("SLACK_SIGNING_SECRET", KEY),
        ("READ_TOKEN", KEY),
        ("SENTRY_CLIENT_SECRET", KEY),
        ("DSN_SECRET", DSN_SECRET),
        ("PROBE_ALLOW_CIDRS", LOOPBACK),
    ];
    let mut starts = Vec::with_capacity(STARTS);
    for number in 0..=STARTS {
        let event = event(number);
        let started = Instant::now();
        let lambda = Lambda::start(function, &environment).await;
        answered(&lambda, event).await?;
        if number > 0 {
            starts.push(started.elapsed());
        }
    }
    let lambda = Lambda::start(function, &environment).await;
    let mut warm = Vec::with_capacity(REQUESTS);
    for number in 0..REQUESTS {
        let event = event(STARTS + 1 + number);
        let started = Instant::now();
        answered(&lambda, event).await?;
        warm.push(started.elapsed());
    }
    let memory_mb = process::memory_mb(lambda.pid());
    let bytes = u32::try_from(std::fs::metadata(beside(function)?)?.len())?;
    Ok(Row {
        function,
        request,
        file_mb: f64::from(bytes) / 1e6,
        starts: Figures::new(starts, Duration::ZERO),
        warm: Figures::new(warm, Duration::ZERO),
        memory_mb,
    })
}

/// Invokes it; an HTTP function must answer 200, any other with success.
async fn answered(lambda: &Lambda, event: Value) -> anyhow::Result<()> {
    let answer = lambda.invoke(event).await.map_err(|error| anyhow::anyhow!("the function failed: {error}"))?;
    let status = answer.get("statusCode");
    ensure!(status.is_none_or(|status| status == 200), "the function answered {answer}");
    Ok(())
}

fn section(version: &str, rows: &[Row]) -> anyhow::Result<String> {
    let mut text = format!(
        "{}\n\n\
         | Function | Request | File, MB | Start to first answer, median ms | p95 ms | Later answers, median ms | Memory, MB |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
        machine::describe(version)
    );
    for row in rows {
        let ([start, slow_start, _], [warm, ..]) = (row.starts.percentiles(), row.warm.percentiles());
        let memory = row.memory_mb.map_or_else(|| "–".to_owned(), |memory| format!("{memory:.1}"));
        writeln!(
            text,
            "| {} | {} | {:.2} | {start:.1} | {slow_start:.1} | {warm:.2} | {memory} |",
            row.function, row.request, row.file_mb
        )?;
    }
    writeln!(
        text,
        "\nEach binary runs under a Runtime API on the same machine. Start: from before the process to its first answer, \
         with a new connection (SCRAM, no TLS) to a Postgres whose commits wait for the disk; {STARTS} starts, the page \
         cache warm. Memory: resident after {REQUESTS} requests. MB = 10^6 bytes.\n"
    )?;
    for row in rows {
        let start = row.starts.percentiles()[0];
        writeln!(
            text,
            "- {}: file under {AIM_FILE_MB} MB: {}; first answer within {AIM_START_MS} ms: {}; memory under \
             {AIM_MEMORY_MB} MB: {}.",
            row.function,
            verdict(row.file_mb < AIM_FILE_MB),
            verdict(start < AIM_START_MS),
            row.memory_mb.map_or("unknown", |memory| verdict(memory < AIM_MEMORY_MB)),
        )?;
    }
    Ok(text)
}

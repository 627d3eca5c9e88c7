//! `bench start`: how large the Lambda binaries are, how soon they answer, and what they hold in memory, on a Runtime
//! API of our own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use harness::lambda::Lambda;
use harness::{Behaviour, Target};
use secrecy::SecretString;
use sentry_webhook::signature::sign;
use serde_json::{Value, json};
use shared::config::DatabaseConfig;
use shared::dsn::{DsnSecret, KeyVersion, PublicKey};
use shared::heartbeat::HeartbeatToken;
use shared::model::{Kind, ServiceSpec};
use shared::store::services::{self, Wanted};
use shared::store::{PoolSize, Store};

use crate::figures::{Figures, verdict};
use crate::server::{Server, beside};
use crate::{machine, process};

/// Starts that are measured; one before them fills the page cache.
const STARTS: usize = 30;
/// After so many requests the memory is looked at.
const REQUESTS: usize = 1_000;

/// The aims: megabytes (10^6 bytes) of file and memory, milliseconds to the first answer.
const AIM_FILE_MB: f64 = 9.0;
const AIM_MEMORY_MB: f64 = 20.0;
const AIM_START_MS: f64 = 15.0;

const KEY: &str = "benchmark-key";
/// Its number.
const APPLICATION: i64 = 1001;
/// The name of the one job.
const JOB: &str = "nightly";
/// What the DSN of the one application is made with.
const DSN_SECRET: &str = "benchmark-dsn-secret";
const SDK_EVENT: &str = include_str!("../../../../shared/fixtures/sentry/python-exception.json");
const REPORT: &str = include_str!("../../../benches/reports/1kB.json");
const SENTRY_ERROR: &str = include_str!("../../../../functions/sentry-webhook/fixtures/error-created.json");
/// The event's id in [`SENTRY_ERROR`]: each request is another event.
const SENTRY_EVENT_ID: &str = "e4874d664c3540c1a32eab185f12c5ab";

/// Makes the event of the nth invocation.
type MakeEvent = fn(usize) -> Value;

/// The functions, each with what it is asked for.
const FUNCTIONS: [(&str, &str, MakeEvent); 7] = [
    ("report-error", "a 1 kB report", report_error),
    ("sentry-webhook", "a signed `error`", sentry_webhook),
    ("sentry-envelope", "an event of the Python SDK", sentry_envelope),
    ("heartbeat", "a beat", heartbeat),
    ("status", "`/ready`, `/status`, `/api/incidents`", status),
    ("probe", "a round of one service", probe),
    ("dispatch", "a sweep with nothing to do", probe),
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
        rows.push(measure(&server, function, request, event).await?);
    }
    let checks = server.count("service_health_checks").await?;
    ensure!(checks >= REQUESTS, "the probe made only {checks} checks");
    let text = section(&server.version().await?, &rows)?;
    server.stop().await?;
    Ok(text)
}

/// The token of the one job.
fn token() -> anyhow::Result<HeartbeatToken> {
    Ok(HeartbeatToken::of(&DsnSecret::new(SecretString::from(DSN_SECRET))?, JOB, "bench"))
}

/// One service and one job for the probe, one application for SDKs.
async fn configure(server: &Server, target: &Target) -> anyhow::Result<()> {
    let config = DatabaseConfig::at(SecretString::from(server.url()));
    let store = Store::new(&config, "bench", PoolSize::LAMBDA)?;
    let mut job = ServiceSpec::http(JOB, "bench", "");
    job.kind = Kind::Heartbeat;
    let (specs, token_hashes) = ([target.spec("shop", "bench"), job], BTreeMap::from([(1, token()?.hash())]));
    let wanted = &Wanted { services: &specs, token_hashes: &token_hashes, removed: &[], routing: None };
    store.run(|client| async move { services::apply(&client, wanted, Utc::now()).await }).await?;
    let sql = format!("INSERT INTO public.applications (number, name) VALUES ({APPLICATION}, 'bench')");
    server.client.batch_execute(&sql).await?;
    Ok(())
}

async fn measure(
    server: &Server,
    function: &'static str,
    request: &'static str,
    event: MakeEvent,
) -> anyhow::Result<Row> {
    let environment = [
        ("DATABASE_URL", server.url()),
        ("INGEST_API_KEY", KEY),
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

fn report_error(_: usize) -> Value {
    http("POST", "/api/autonomous/error", json!({"authorization": format!("Bearer {KEY}")}), Some(REPORT))
}

fn sentry_webhook(_: usize) -> Value {
    let body = SENTRY_ERROR.replace(SENTRY_EVENT_ID, &uuid::Uuid::new_v4().simple().to_string());
    let signature = sign(&SecretString::from(KEY), body.as_bytes());
    let headers = json!({"sentry-hook-resource": "error", "sentry-hook-signature": signature});
    http("POST", "/webhooks/sentry", headers, Some(&body))
}

fn sentry_envelope(_: usize) -> Value {
    let key = DsnSecret::new(SecretString::from(DSN_SECRET))
        .map(|secret| PublicKey::of(&secret, APPLICATION, KeyVersion::FIRST).dsn("http://bench", APPLICATION))
        .unwrap_or_default();
    let key = key.trim_start_matches("http://").split('@').next().unwrap_or_default();
    let id = uuid::Uuid::new_v4().simple().to_string();
    let event: Value = serde_json::from_str(SDK_EVENT).unwrap_or_default();
    let body = format!("{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\"}}\n{}\n", with_id(event, &id));
    let headers = json!({"x-sentry-auth": format!("Sentry sentry_version=7, sentry_key={key}")});
    http("POST", &format!("/api/{APPLICATION}/envelope/"), headers, Some(&body))
}

fn with_id(mut event: Value, id: &str) -> Value {
    event["event_id"] = id.into();
    event
}

fn heartbeat(_: usize) -> Value {
    let path = token().map(|token| token.url("")).unwrap_or_default();
    http("POST", &path, json!({}), None)
}

fn status(number: usize) -> Value {
    let path = ["/ready", "/status", "/api/incidents"][number % 3];
    http("GET", path, json!({"authorization": format!("Bearer {KEY}")}), None)
}

/// The tick of each minute from now on: every one finds the service due.
fn probe(number: usize) -> Value {
    let now = Utc::now();
    let tick = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
    scheduled(tick + TimeDelta::minutes(i64::try_from(number).unwrap_or_default()))
}

/// As EventBridge sends what is scheduled for this time.
pub(crate) fn scheduled(time: DateTime<Utc>) -> Value {
    json!({
        "version": "0", "id": uuid::Uuid::new_v4(), "detail-type": "Scheduled Event", "source": "aws.events",
        "account": "123456789012", "region": "eu-west-1", "resources": [], "detail": {}, "time": time,
    })
}

/// As API Gateway's HTTP API sends it (payload version 2.0).
fn http(method: &str, path: &str, headers: Value, body: Option<&str>) -> Value {
    let mut all = json!({"content-type": "application/json", "host": "abc.execute-api.eu-west-1.amazonaws.com"});
    if let (Value::Object(all), Value::Object(headers)) = (&mut all, headers) {
        all.extend(headers);
    }
    json!({
        "version": "2.0", "routeKey": format!("{method} {path}"), "rawPath": path, "rawQueryString": "",
        "headers": all, "body": body, "isBase64Encoded": false,
        "requestContext": {
            "accountId": "123456789012", "apiId": "abc", "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "abc", "requestId": "JKJaXmPLvHcESHA=", "routeKey": format!("{method} {path}"),
            "stage": "$default", "time": "23/Nov/2026:10:00:00 +0000", "timeEpoch": 1_795_428_000_000_u64,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "bench"},
        },
    })
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

//! `bench notify`: the latency of notifications, and a burst of incidents: the release stack with a receiver of ours as its
//! signed webhook (which gets each notification) and as Slack (where the rate limit makes digests).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::figures::{Figures, milliseconds, verdict};
use crate::machine;
use crate::server::{Server, Stack};

/// The aim: from the answer that an error is stored to the request that notifies of it.
const AIM: Duration = Duration::from_secs(1);

/// Concurrent clients of the burst.
const CLIENTS: usize = 32;

/// The time-out of a notification.
const PATIENCE: Duration = Duration::from_secs(900);

/// How much is measured.
pub(crate) struct Plan {
    /// Errors one after the other.
    single: usize,
    /// Errors at once, each of its own kind.
    burst: usize,
}

/// The kept measurement.
pub(crate) const FULL: Plan = Plan { single: 200, burst: 10_000 };

/// A short measurement, to test the benchmark.
pub(crate) const SHORT: Plan = Plan { single: 20, burst: 300 };

/// Received requests: channel, time, and body.
type Arrivals = Arc<Mutex<Vec<(String, Instant, String)>>>;

/// The receiver of both channels.
struct Receiver {
    address: SocketAddr,
    arrivals: Arrivals,
}

/// The results of the burst.
struct Burst {
    reported_in: Duration,
    notified_in: Duration,
    /// The webhook's: requests, and the incidents in them.
    webhook: (usize, usize),
    /// Slack's: messages, incidents notified one by one, incidents in digests, digests.
    slack: (usize, i64, i64, i64),
    /// Incidents that were notified twice.
    twice: usize,
    memory_mb: Option<f64>,
}

/// Measures all of it; the section for the results.
pub(crate) async fn run(folder: &Path, plan: &Plan) -> anyhow::Result<String> {
    let server = Server::start(folder, true).await?;
    let receiver = Receiver::start().await?;
    let url = |channel: &str| format!("http://{}/{channel}", receiver.address);
    let stack = Stack::start_with(
        &server,
        &[
            ("NOTIFY_WEBHOOK_URL", url("webhook")),
            ("NOTIFY_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            ("SLACK_WEBHOOK_URL", url("slack")),
        ],
    )
    .await?;
    let single = receiver.one_by_one(&stack, plan.single).await?;
    let burst = receiver.burst(&server, &stack, plan.burst).await?;
    let text = section(&server.version().await?, plan, &single, &burst)?;
    drop(stack);
    server.stop().await?;
    Ok(text)
}

impl Receiver {
    async fn start() -> anyhow::Result<Self> {
        let arrivals = Arrivals::default();
        let router = Router::new().route("/{channel}", post(receive)).with_state(Arc::clone(&arrivals));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, arrivals })
    }

    /// Times from each answer to the webhook's request.
    async fn one_by_one(&self, stack: &Stack, errors: usize) -> anyhow::Result<Figures> {
        let http = reqwest_client()?;
        let (mut latencies, started) = (Vec::with_capacity(errors), Instant::now());
        for number in 0..errors {
            let incident = report(&http, stack.address, number).await?;
            let stored = Instant::now();
            let arrived = self.arrival_of("webhook", &incident).await?;
            latencies.push(arrived.saturating_duration_since(stored));
        }
        Ok(Figures::new(latencies, started.elapsed()))
    }

    async fn arrival_of(&self, channel: &str, incident: &str) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        loop {
            let found = self.seen(|it| it.0 == channel && it.2.contains(incident)).first().map(|it| it.1);
            if let Some(at) = found {
                return Ok(at);
            }
            ensure!(begun.elapsed() < PATIENCE, "no notification of {incident} arrived");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn seen(&self, wanted: impl Fn(&(String, Instant, String)) -> bool) -> Vec<(String, Instant, String)> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.iter().filter(|it| wanted(it)).cloned().collect()
    }

    async fn burst(&self, server: &Server, stack: &Stack, errors: usize) -> anyhow::Result<Burst> {
        server.client.batch_execute("TRUNCATE public.notifications, public.notification_groups CASCADE").await?;
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let started = Instant::now();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (http, address) = (reqwest_client()?, stack.address);
            clients.spawn(async move {
                for number in (client..errors).step_by(CLIENTS) {
                    // Numbers that the single errors do not use.
                    report(&http, address, 1_000_000 + number).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        let reported_in = started.elapsed();
        self.wait_until_notified(server, errors, started).await?;
        let notified_in = started.elapsed();
        let webhook = self.seen(|it| it.0 == "webhook");
        let slack = self.seen(|it| it.0 == "slack").len();
        let mut ids: HashMap<String, usize> = HashMap::new();
        for (.., body) in &webhook {
            *ids.entry(incident_in(body).context("a message names no incident")?).or_default() += 1;
        }
        let twice = ids.values().filter(|count| **count > 1).count();
        let count = |status: &'static str| counted(server, status);
        let (sent, digested) =
            (count("status = 'sent' AND kind = 'firing'").await?, count("status = 'digested'").await?);
        let digests = count("kind = 'digest'").await?;
        let memory_mb = stack.memory_mb();
        let (webhook, slack) = ((webhook.len(), ids.len()), (slack, sent, digested, digests));
        Ok(Burst { reported_in, notified_in, webhook, slack, twice, memory_mb })
    }

    async fn wait_until_notified(&self, server: &Server, errors: usize, started: Instant) -> anyhow::Result<()> {
        loop {
            let sql = "SELECT
                (SELECT count(*) FROM public.event_outbox WHERE published_at IS NULL)
                    + (SELECT count(*) FROM public.notifications WHERE status IN ('pending', 'sending')),
                (SELECT count(DISTINCT group_key) FROM public.notifications WHERE kind = 'firing')";
            let row = server.client.query_one(sql, &[]).await?;
            let (waiting, known): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            if waiting == 0 && usize::try_from(known)? == errors {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "{waiting} notifications are pending, {known} incidents are known");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn counted(server: &Server, which: &str) -> anyhow::Result<i64> {
    let sql = format!("SELECT count(*) FROM public.notifications WHERE channel = 'slack' AND {which}");
    Ok(server.client.query_one(&sql, &[]).await?.try_get(0)?)
}

async fn receive(State(arrivals): State<Arrivals>, UrlPath(channel): UrlPath<String>, body: Bytes) -> &'static str {
    let body = String::from_utf8_lossy(&body).into_owned();
    arrivals.lock().unwrap_or_else(PoisonError::into_inner).push((channel, Instant::now(), body));
    "ok"
}

/// The incident that a message is about.
fn incident_in(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("INC-")?;
    let id: String = rest.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
    Some(format!("INC-{id}"))
}

/// Reports an error of a kind of its own; the incident that it opened.
async fn report(http: &reqwest::Client, address: SocketAddr, number: usize) -> anyhow::Result<String> {
    // Fingerprints ignore numbers, so the kinds differ in letters.
    let letters: String = number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
    let body = json!({
        "error": {"message": format!("The part {letters} has failed"), "type": format!("Failure{letters}")},
        "context": {"application": "shop"}, "severity": "HIGH",
    });
    let answer = http.post(format!("http://{address}/api/autonomous/error")).json(&body).send().await?;
    let answer: Value = answer.error_for_status()?.json().await?;
    ensure!(answer["created"] == true, "{answer} is no new incident");
    Ok(answer["incident_id"].as_str().context("no incident")?.to_owned())
}

fn reqwest_client() -> anyhow::Result<reqwest::Client> {
    let tls = shared::tls::client_config(&shared::tls::Trust::PublicRoots)?;
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(Duration::from_secs(30)).build()?)
}

fn section(postgres: &str, plan: &Plan, single: &Figures, burst: &Burst) -> anyhow::Result<String> {
    let mut text = format!("{}\n", machine::describe(postgres));
    let [median, p95, p99] = single.percentiles();
    let aim = milliseconds(AIM);
    writeln!(
        text,
        "\n- From the answer that an error is stored to the webhook's request, {} errors one after the other: median {median:.1} ms, \
         p95 {p95:.1} ms, p99 {p99:.1} ms, aim {aim:.0} ms: {}.",
        plan.single,
        verdict(p99 < aim)
    )?;
    let Burst { reported_in, notified_in, webhook, slack, twice, memory_mb } = burst;
    writeln!(
        text,
        "- A burst of {} incidents, reported by {CLIENTS} clients in {:.1} s; {:.1} s from the first report until nothing was pending.",
        plan.burst,
        reported_in.as_secs_f64(),
        notified_in.as_secs_f64()
    )?;
    writeln!(text, "  - Webhook: {} requests about {} incidents; {twice} incidents twice.", webhook.0, webhook.1)?;
    let (messages, sent, digested, digests) = slack;
    writeln!(
        text,
        "  - Slack: {messages} messages: {sent} incidents one by one, {digested} in {digests} digests; together {}.",
        sent + digested
    )?;
    let complete = webhook.1 == plan.burst && *twice == 0 && usize::try_from(sent + digested)? == plan.burst;
    writeln!(text, "  - Each notified one by one or in a digest, none twice: {}.", verdict(complete))?;
    if let Some(memory) = memory_mb {
        writeln!(text, "  - Memory of the stack afterwards: {memory:.1} MB.")?;
    }
    Ok(text)
}

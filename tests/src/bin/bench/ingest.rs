//! `bench ingest`: requests per second and latencies of `watchkeeper start`, beside pgbench with the same statement on
//! the same server. Both take turns, in another order each round, so that a disturbance hits both.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::figures::{Figures, milliseconds, verdict};
use crate::load::Load;
use crate::pgbench::{Pgbench, Protocol};
use crate::server::{Server, Stack};
use crate::{machine, pure};

/// How many different errors are reported, each as often as any other.
const ERRORS: usize = 100;

const BODIES: [(&str, &str); 2] = [
    ("1 kB", include_str!("../../../benches/reports/1kB.json")),
    ("11 kB", include_str!("../../../benches/reports/11kB.json")),
];

/// Of pgbench's rate with the extended protocol, we want this much at [`AIM_CLIENTS`].
const AIM_RATIO: f64 = 0.7;
const AIM_CLIENTS: usize = 8;
/// 99 of 100 reports are stored within this time, in milliseconds, at [`AIM_CLIENTS`].
const AIM_STORED_MS: f64 = 100.0;

/// How much is measured.
pub(crate) struct Plan {
    rounds: usize,
    durable: Part,
    /// Also without waiting for the disk: what the processor alone allows.
    not_durable: Part,
}

struct Part {
    clients: &'static [usize],
    /// Of each measurement, in whole seconds.
    time: Duration,
}

/// What is kept.
pub(crate) const FULL: Plan = Plan {
    rounds: 3,
    durable: Part { clients: &[1, 8, 32], time: Duration::from_secs(3) },
    not_durable: Part { clients: &[8], time: Duration::from_secs(2) },
};

/// To try the benchmark.
pub(crate) const SHORT: Plan = Plan {
    rounds: 1,
    durable: Part { clients: &[1, 8, 32], time: Duration::from_secs(1) },
    not_durable: Part { clients: &[8], time: Duration::from_secs(1) },
};

/// Who is measured.
const WHO: [&str; 3] = ["watchkeeper", "pgbench extended", "pgbench prepared"];

/// What was measured for one body and number of clients.
struct Cell {
    body: &'static str,
    clients: usize,
    figures: [Figures; 3],
    /// watchkeeper's own, in all rounds.
    cpu_time: Option<Duration>,
}

/// Measures everything; the section for the results.
pub(crate) async fn run(folder: &Path, plan: &Plan) -> anyhow::Result<String> {
    let (version, durable) = measure(&folder.join("durable"), plan, &plan.durable, true).await?;
    let (_, not_durable) = measure(&folder.join("not-durable"), plan, &plan.not_durable, false).await?;
    let mut text = format!("{}\n\n### The pure path, in µs (criterion, medians)\n\n", machine::describe(&version));
    text.push_str(&pure::table()?);
    text.push_str("\n### The whole path, commits waiting for the disk (as the local stack runs)\n\n");
    text.push_str(&table(&durable)?);
    text.push_str("\n### The whole path, commits not waiting for the disk (fsync off: the processor's share)\n\n");
    text.push_str(&table(&not_durable)?);
    write!(text, "\n{}\n\n{}", notes(plan), aims(&durable)?)?;
    Ok(text)
}

async fn measure(folder: &Path, plan: &Plan, part: &Part, durable: bool) -> anyhow::Result<(String, Vec<Cell>)> {
    let server = Server::start(folder, durable).await?;
    let stack = Stack::start(&server).await?;
    let mut cells = Vec::new();
    for (size, body) in BODIES {
        let load =
            Load::new(stack.address, (0..ERRORS).map(|number| body.trim_end().replace("@WORKER@", &word(number))));
        let mut pgbench = Pgbench::new(server.folder(), body, ERRORS)?;
        // The first requests open the incidents and fill the caches.
        load.run(AIM_CLIENTS, Duration::from_millis(500)).await?;
        pgbench.run(server.url(), Protocol::Extended, AIM_CLIENTS, Duration::from_secs(1)).await?;
        for &clients in part.clients {
            let mut cell = Cell { body: size, clients, figures: Default::default(), cpu_time: Some(Duration::ZERO) };
            for round in 0..plan.rounds {
                server.settle().await?;
                for turn in 0..WHO.len() {
                    let who = (round + turn) % WHO.len();
                    let figures = match who {
                        0 => counted(&server, &stack, &load, &mut cell, part.time).await?,
                        1 => pgbench.run(server.url(), Protocol::Extended, clients, part.time).await?,
                        _ => pgbench.run(server.url(), Protocol::Prepared, clients, part.time).await?,
                    };
                    cell.figures[who].add(figures);
                }
            }
            cells.push(cell);
        }
    }
    let version = server.version().await?;
    drop(stack);
    server.stop().await?;
    Ok((version, cells))
}

/// One measurement over HTTP: what was answered must be stored, each report once.
async fn counted(
    server: &Server,
    stack: &Stack,
    load: &Load,
    cell: &mut Cell,
    time: Duration,
) -> anyhow::Result<Figures> {
    let (stored, cpu_time) = (server.count("inbound_deliveries").await?, stack.cpu_time());
    let figures = load.run(cell.clients, time).await?;
    let used = stack.cpu_time().zip(cpu_time).map(|(after, before)| after - before);
    cell.cpu_time = cell.cpu_time.zip(used).map(|(sum, used)| sum + used);
    let stored = server.count("inbound_deliveries").await? - stored;
    ensure!(stored == figures.count(), "{} reports were answered, {stored} stored", figures.count());
    Ok(figures)
}

/// A word for each number, of letters only: a fingerprint looks away from digits.
fn word(number: usize) -> String {
    let letter = |digit: usize| char::from(b'a' + u8::try_from(digit % 26).unwrap_or_default());
    [letter(number / 26), letter(number)].iter().collect()
}

fn table(cells: &[Cell]) -> anyhow::Result<String> {
    let mut table =
        "| Body | Clients | Who | Requests/s | of extended | p50 ms | p95 ms | p99 ms | own CPU, ms/request |\n\
                     |---|--:|---|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for cell in cells {
        for (who, figures) in WHO.iter().zip(&cell.figures) {
            let [p50, p95, p99] = figures.percentiles();
            write!(table, "| {} | {} | {who} | {:.0}", cell.body, cell.clients, figures.rate())?;
            write!(table, " | {:.2} | {p50:.2} | {p95:.2} | {p99:.2} |", figures.rate() / cell.figures[1].rate())?;
            match cell.cpu_time {
                Some(time) if *who == WHO[0] => {
                    writeln!(table, " {:.3} |", milliseconds(time) / (figures.rate() * figures.elapsed.as_secs_f64()))?;
                }
                _ => writeln!(table, " |")?,
            }
        }
    }
    Ok(table)
}

fn notes(plan: &Plan) -> String {
    format!(
        "{ERRORS} different errors, each equally likely; each request is a new delivery, and no request names a key. \
         pgbench calls `record_reports` with one report of the same texts (no HTTP, no JSON, no decisions); both \
         take turns on one server, {} rounds of {} s ({} s without the disk). The load's clients run on the same \
         cores as the server and Postgres, just as pgbench's do. The answer comes after the commit, so a latency is \
         the time from request to stored.",
        plan.rounds,
        plan.durable.time.as_secs(),
        plan.not_durable.time.as_secs(),
    )
}

/// Whether the aims are met, where the disk is waited for.
fn aims(durable: &[Cell]) -> anyhow::Result<String> {
    let mut text = String::new();
    for cell in durable.iter().filter(|cell| cell.clients == AIM_CLIENTS) {
        let [ours, extended, _] = &cell.figures;
        let (ratio, [.., p99]) = (ours.rate() / extended.rate(), ours.percentiles());
        writeln!(
            text,
            "- {}, {AIM_CLIENTS} clients: {ratio:.2} of pgbench extended, aim {AIM_RATIO}: {}. \
             Stored within {p99:.1} ms (p99), aim {AIM_STORED_MS} ms: {}.",
            cell.body,
            verdict(ratio >= AIM_RATIO),
            verdict(p99 < AIM_STORED_MS),
        )?;
    }
    Ok(text)
}

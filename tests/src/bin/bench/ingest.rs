//! `bench ingest`: requests per second and latencies of `watchkeeper start`, compared to pgbench with the same statement
//! on the same server. Both take turns, in another order each round, so that a disturbance affects both.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::batches::Batches;
use crate::figures::{Figures, milliseconds, verdict};
use crate::load::Load;
use crate::pgbench::{Pgbench, Protocol};
use crate::server::{Server, Stack};
use crate::{machine, pure};

/// How many different errors are reported, equally often: many, and a storm of one.
const ERRORS: [usize; 2] = [100, 1];

const BODIES: [(&str, &str); 2] = [
    ("1 kB", include_str!("../../../benches/reports/1kB.json")),
    ("11 kB", include_str!("../../../benches/reports/11kB.json")),
];

/// The wanted ratio to pgbench's rate with prepared statements, by number of clients, with bodies of 1 kB.
const AIM_RATIOS: [(usize, f64); 3] = [(1, 0.9), (8, 1.1), (32, 1.5)];
/// 99 of 100 reports are stored within this time, in milliseconds.
const AIM_STORED_MS: f64 = 100.0;
/// The memory limit of the stack at the end, in megabytes (10^6 bytes).
const AIM_MEMORY_MB: f64 = 20.0;
/// Clients that open the incidents and fill the caches.
const WARM_UP_CLIENTS: usize = 8;

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

/// The kept measurement.
pub(crate) const FULL: Plan = Plan {
    rounds: 3,
    durable: Part { clients: &[1, 8, 32], time: Duration::from_secs(2) },
    not_durable: Part { clients: &[8], time: Duration::from_secs(2) },
};

/// A short measurement, to test the benchmark.
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
    errors: usize,
    clients: usize,
    figures: [Figures; 3],
    /// Watchkeeper's own CPU time, in all rounds.
    cpu_time: Option<Duration>,
}

/// Measures everything; the section for the results.
pub(crate) async fn run(folder: &Path, plan: &Plan) -> anyhow::Result<String> {
    let durable = measure(&folder.join("durable"), plan, &plan.durable, true).await?;
    let not_durable = measure(&folder.join("not-durable"), plan, &plan.not_durable, false).await?;
    let description = machine::describe(&durable.version);
    let mut text = format!("{description}\n\n### The pure path, in µs (criterion, medians)\n\n");
    text.push_str(&pure::table()?);
    text.push_str("\n### The whole path, commits waiting for the disk (as the local stack runs)\n\n");
    text.push_str(&table(&durable.cells)?);
    text.push_str("\n### The whole path, commits not waiting for the disk (fsync off: the processor's share)\n\n");
    text.push_str(&table(&not_durable.cells)?);
    write!(text, "\n{}\n\n{}", notes(plan), aims(&durable)?)?;
    Ok(text)
}

/// What was measured on one server.
struct Measured {
    version: String,
    cells: Vec<Cell>,
    /// The stack's, at the end.
    memory_mb: Option<f64>,
    batches: Batches,
}

async fn measure(folder: &Path, plan: &Plan, part: &Part, durable: bool) -> anyhow::Result<Measured> {
    let server = Server::start(folder, durable).await?;
    let stack = Stack::start(&server).await?;
    let mut cells = Vec::new();
    for ((size, body), errors) in BODIES.into_iter().flat_map(|body| ERRORS.map(|errors| (body, errors))) {
        let load =
            Load::new(stack.address, (0..errors).map(|number| body.trim_end().replace("@WORKER@", &word(number))));
        let mut pgbench = Pgbench::new(server.folder(), body, errors)?;
        // The first requests open the incidents and fill the caches.
        load.run(WARM_UP_CLIENTS, Duration::from_millis(500)).await?;
        pgbench.run(server.url(), Protocol::Extended, WARM_UP_CLIENTS, Duration::from_secs(1)).await?;
        for &clients in part.clients {
            let (figures, cpu_time) = (Default::default(), Some(Duration::ZERO));
            let mut cell = Cell { body: size, errors, clients, figures, cpu_time };
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
    let (version, memory_mb) = (server.version().await?, stack.memory_mb());
    drop(stack);
    let batches = Batches::measure(&server).await?;
    server.stop().await?;
    Ok(Measured { version, cells, memory_mb, batches })
}

/// One measurement over HTTP, and a check that each answered report is stored once.
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

/// A word of letters for each number: fingerprints ignore digits.
fn word(number: usize) -> String {
    let letter = |digit: usize| char::from(b'a' + u8::try_from(digit % 26).unwrap_or_default());
    [letter(number / 26), letter(number)].iter().collect()
}

fn table(cells: &[Cell]) -> anyhow::Result<String> {
    let mut table =
        "| Body | Errors | Clients | Who | Requests/s | of prepared | p50 ms | p95 ms | p99 ms | own CPU, ms/request |\n\
                     |---|--:|--:|---|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for cell in cells {
        for (who, figures) in WHO.iter().zip(&cell.figures) {
            let [p50, p95, p99] = figures.percentiles();
            write!(table, "| {} | {} | {} | {who} | {:.0}", cell.body, cell.errors, cell.clients, figures.rate())?;
            write!(table, " | {:.2} | {p50:.2} | {p95:.2} | {p99:.2} |", figures.rate() / cell.figures[2].rate())?;
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
        "Errors: so many different ones, each equally likely; each request is a new delivery, and no request names a key. \
         pgbench calls `record_reports` with one report of the same texts (no HTTP, no JSON, no decisions); both \
         take turns on one server, {} rounds of {} s ({} s without the disk). The load's clients run on the same \
         cores as the server and Postgres, just as pgbench's do. The answer comes after the commit, so a latency is \
         the time from request to stored.",
        plan.rounds,
        plan.durable.time.as_secs(),
        plan.not_durable.time.as_secs(),
    )
}

/// Whether the aims are met, on the server whose commits wait for the disk.
fn aims(durable: &Measured) -> anyhow::Result<String> {
    let mut text = String::new();
    let cell = |body: &str, errors: usize, clients: usize| {
        durable.cells.iter().find(|cell| (cell.body, cell.errors, cell.clients) == (body, errors, clients))
    };
    for (clients, aim) in AIM_RATIOS {
        let Some(Cell { figures: [ours, _, prepared], .. }) = cell(BODIES[0].0, ERRORS[0], clients) else { continue };
        let (ratio, [.., p99]) = (ours.rate() / prepared.rate(), ours.percentiles());
        writeln!(
            text,
            "- 1 kB, {clients} clients: {ratio:.2} of pgbench prepared, aim {aim}: {}. \
             Stored within {p99:.1} ms (p99), aim {AIM_STORED_MS} ms: {}.",
            verdict(ratio >= aim),
            verdict(p99 < AIM_STORED_MS),
        )?;
    }
    for (who, name) in [(0, "one process"), (2, "a connection each, as Lambdas have it (pgbench prepared)")] {
        for (body, _) in BODIES {
            let (Some(many), Some(storm)) = (cell(body, ERRORS[0], 32), cell(body, ERRORS[1], 32)) else { continue };
            let ratio = storm.figures[who].rate() / many.figures[who].rate();
            writeln!(
                text,
                "- A storm of one error beside {} different ones, {body}, 32 clients, {name}: {ratio:.2}, aim 1: {}.",
                ERRORS[0],
                verdict(ratio >= 0.95),
            )?;
        }
    }
    if let Some(memory) = durable.memory_mb {
        let met = verdict(memory < AIM_MEMORY_MB);
        writeln!(
            text,
            "- Memory of `watchkeeper start` after all this: {memory:.1} MB, aim {AIM_MEMORY_MB} MB: {met}."
        )?;
    }
    text.push_str(&durable.batches.verdict());
    Ok(text)
}

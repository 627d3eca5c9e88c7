//! `bench probe`: the `probe` binary on a Runtime API of our own, against services of ours: duration and memory of a round,
//! several processes that share a round, the cost of an idle round, and the storage of checks.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use harness::lambda::Lambda;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use secrecy::SecretString;
use shared::config::DatabaseConfig;
use shared::store::services::{self, Origin};
use shared::store::{PoolSize, Store};
use tokio::task::JoinSet;

use crate::figures::{milliseconds, verdict};
use crate::requests::scheduled;
use crate::server::Server;
use crate::start::LOOPBACK;
use crate::storage::Storage;
use crate::targets::{Mix, ONE_OF, TIMEOUT, Targets};
use crate::{machine, process};

/// The aims: one run, its memory in megabytes (10^6 bytes), the same minute for many, own processor time of an idle run.
const AIM_RUN: Duration = Duration::from_secs(12);
const AIM_MEMORY_MB: f64 = 64.0;
const AIM_CROWD: Duration = Duration::from_secs(60);
const AIM_IDLE_MS: f64 = 20.0;

/// Processes that share a round.
const PROCESSES: usize = 4;

/// Services of an idle round.
const IDLE_SERVICES: usize = 50;

/// Services are stored in pieces of this size.
const PIECE: usize = 1_000;

/// How much is measured.
pub(crate) struct Plan {
    /// Services of one process's round.
    run: usize,
    /// Services of the round that processes share.
    crowd: usize,
    /// Idle rounds; one before them is not counted.
    idle: u32,
    /// Services whose checks are stored to measure storage, and minutes of them.
    stored: (usize, usize),
    /// Services that are checked one after the other, as a sample for the computed total.
    sample: usize,
}

/// The kept measurement.
pub(crate) const FULL: Plan = Plan { run: 1_000, crowd: 10_000, idle: 30, stored: (500, 60), sample: 500 };

/// A short measurement, to test the benchmark.
pub(crate) const SHORT: Plan = Plan { run: 50, crowd: 1_500, idle: 3, stored: (50, 4), sample: 20 };

/// One round.
struct Round {
    took: Duration,
    /// Services that were checked in it.
    checked: usize,
}

/// Rounds of one process after the other, or of several at once.
struct Rounds {
    services: usize,
    /// The first: failures are retried until twice their time-out, and their incidents open.
    first: Round,
    /// The next minute's.
    next: Round,
    /// Memory of the largest process; none where there is no /proc.
    peak_mb: Option<f64>,
}

/// All that was measured.
struct ProbeFigures {
    one: Rounds,
    crowd: Rounds,
    /// Own processor time of an idle round; none where there is no /proc.
    idle: Option<Duration>,
    /// How long a client takes that checks one service after the other.
    alone: Duration,
    storage: Storage,
}

struct Bench {
    server: Server,
    store: Store,
    targets: Targets,
    tick: DateTime<Utc>,
}

/// Measures all of it; the section for the results.
pub(crate) async fn run(folder: &Path, plan: &Plan) -> anyhow::Result<String> {
    let server = Server::start(folder, true).await?;
    let store = Store::new(&DatabaseConfig::at(SecretString::from(server.url())), "bench", PoolSize::LAMBDA)?;
    let tick = Utc::now().duration_trunc(TimeDelta::minutes(1))?;
    let mut bench = Bench { server, store, targets: Targets::start().await?, tick };
    let storage = bench.measure_storage(plan.stored).await?;
    let idle = bench.idle(plan.idle).await?;
    let one = bench.rounds("one", plan.run, 1).await?;
    let crowd = bench.rounds("crowd", plan.crowd, PROCESSES).await?;
    let alone = bench.targets.one_after_the_other(plan.run, plan.sample).await?;
    let figures = ProbeFigures { one, crowd, idle, alone, storage };
    let text = section(&bench.server.version().await?, plan, &figures)?;
    bench.server.stop().await?;
    Ok(text)
}

impl Bench {
    /// Configures so many services, and no others.
    async fn configure(&self, environment: &str, services: usize, mix: Mix) -> anyhow::Result<()> {
        self.server.client.batch_execute("TRUNCATE public.services CASCADE").await?;
        for piece in self.targets.specs(environment, services, mix).chunks(PIECE) {
            self.store
                .run(|client| async move { services::upsert(&client, piece, Origin::File, Utc::now()).await })
                .await?;
        }
        self.server.settle().await
    }

    async fn start(&self) -> Arc<Lambda> {
        Arc::new(Lambda::start("probe", &[("DATABASE_URL", self.server.url()), ("PROBE_ALLOW_CIDRS", LOOPBACK)]).await)
    }

    /// The next minute's round, of all these processes concurrently.
    async fn round(&mut self, lambdas: &[Arc<Lambda>]) -> anyhow::Result<Round> {
        self.tick += TimeDelta::minutes(1);
        let before = self.server.count("service_health_checks").await?;
        let started = Instant::now();
        let mut rounds = JoinSet::new();
        for lambda in lambdas {
            let (lambda, tick) = (Arc::clone(lambda), self.tick);
            rounds.spawn(async move { lambda.invoke(scheduled(tick)).await });
        }
        while let Some(ended) = rounds.join_next().await {
            ended?.map_err(|error| anyhow!("the probe failed: {error}"))?;
        }
        let took = started.elapsed();
        Ok(Round { took, checked: self.server.count("service_health_checks").await? - before })
    }

    /// Two minutes of so many services, every tenth of them hanging.
    async fn rounds(&mut self, environment: &str, services: usize, processes: usize) -> anyhow::Result<Rounds> {
        self.configure(environment, services, Mix::SomeHang).await?;
        let mut lambdas = Vec::with_capacity(processes);
        for _ in 0..processes {
            lambdas.push(self.start().await);
        }
        // Only now, so that the limit of the measured processes stays as in production.
        raise_open_files()?;
        let first = self.round(&lambdas).await?;
        let next = self.round(&lambdas).await?;
        let peaks = lambdas.iter().map(|lambda| process::peak_memory_mb(lambda.pid()));
        let peak_mb = peaks.collect::<Option<Vec<f64>>>().map(|peaks| peaks.into_iter().fold(0.0, f64::max));
        let sql = "SELECT count(*) FROM public.services WHERE state = 'down'";
        let down: i64 = self.server.client.query_one(sql, &[]).await?.try_get(0)?;
        if next.checked == services {
            ensure!(usize::try_from(down)? == services.div_ceil(ONE_OF), "{down} of {services} services are down");
        }
        Ok(Rounds { services, first, next, peak_mb })
    }

    /// The own processor time of a round over healthy services; none where there is no /proc.
    async fn idle(&mut self, rounds: u32) -> anyhow::Result<Option<Duration>> {
        self.configure("idle", IDLE_SERVICES, Mix::Healthy).await?;
        let lambdas = [self.start().await];
        self.round(&lambdas).await?;
        let before = process::cpu_time(lambdas[0].pid());
        for _ in 0..rounds {
            let round = self.round(&lambdas).await?;
            ensure!(round.checked == IDLE_SERVICES, "only {} services were checked", round.checked);
        }
        let after = process::cpu_time(lambdas[0].pid());
        Ok(before.zip(after).map(|(before, after)| (after - before) / rounds))
    }

    /// The storage that the checks of some minutes take.
    async fn measure_storage(&mut self, (services, minutes): (usize, usize)) -> anyhow::Result<Storage> {
        self.configure("stored", services, Mix::Healthy).await?;
        let lambdas = [self.start().await];
        for _ in 0..minutes {
            let round = self.round(&lambdas).await?;
            ensure!(round.checked == services, "only {} services were checked", round.checked);
        }
        Storage::measure(&self.server).await
    }
}

/// Raises the limit of open files: this process is the other end of all connections.
fn raise_open_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// The first four columns of a table row about a round.
fn row(
    text: &mut String,
    which: &str,
    services: usize,
    processes: usize,
    round: &Round,
    memory: &str,
) -> std::fmt::Result {
    let seconds = round.took.as_secs_f64();
    writeln!(text, "| {which} | {services} | {processes} | {} | {seconds:.2} | {memory} |", round.checked)
}

fn section(version: &str, plan: &Plan, figures: &ProbeFigures) -> anyhow::Result<String> {
    let ProbeFigures { one, crowd, alone, .. } = figures;
    let mut text = format!(
        "{}\n\n\
         | Round | Services | Processes | Checked | Wall, s | Peak memory of a process, MB |\n\
         |---|--:|--:|--:|--:|--:|\n",
        machine::describe(version)
    );
    let memory = |rounds: &Rounds| rounds.peak_mb.map_or_else(|| "–".to_owned(), |peak| format!("{peak:.1}"));
    for (rounds, processes) in [(one, 1), (crowd, PROCESSES)] {
        row(&mut text, "first", rounds.services, processes, &rounds.first, "")?;
        row(&mut text, "next", rounds.services, processes, &rounds.next, &memory(rounds))?;
    }
    writeln!(
        text,
        "| one after the other | {} | 1 | {} | {:.0} | |\n\n\
         Every tenth service hangs until its time-out of {} s; the others answer at once, over HTTP on the loopback \
         interface. In the first round a failure is retried until twice the time-out, and its incident opens; in the next \
         it is known. The probe is the Lambda binary under a Runtime API, with a Postgres whose commits wait for the disk; all \
         of them, and the services, share this machine. One after the other: computed from {} requests of the simplest client \
         to services that answer, and the time-out of each that hangs; it stores nothing. MB = 10^6 bytes.\n",
        plan.run,
        plan.run,
        alone.as_secs_f64(),
        TIMEOUT.as_secs(),
        plan.sample,
    )?;
    aims(&mut text, plan, figures)?;
    write!(text, "\n### Storage\n\n{}", figures.storage.section()?)?;
    Ok(text)
}

fn aims(text: &mut String, plan: &Plan, figures: &ProbeFigures) -> anyhow::Result<()> {
    let ProbeFigures { one, crowd, idle, alone, .. } = figures;
    for (which, round) in [("first", &one.first), ("next", &one.next)] {
        writeln!(
            text,
            "- {} services, one process, {which} round: {} checked in {:.1} s, {:.0} times as fast as one after the other; aim \
             all of them in {} s: {}.",
            one.services,
            round.checked,
            round.took.as_secs_f64(),
            alone.as_secs_f64() / round.took.as_secs_f64(),
            AIM_RUN.as_secs(),
            verdict(round.checked == one.services && round.took < AIM_RUN),
        )?;
    }
    let met = one.peak_mb.map_or("unknown", |peak| verdict(peak < AIM_MEMORY_MB));
    writeln!(text, "- Its memory under {AIM_MEMORY_MB} MB: {met}.")?;
    for (which, round) in [("first", &crowd.first), ("next", &crowd.next)] {
        writeln!(
            text,
            "- {} services, {PROCESSES} processes, {which} round: {} checked in {:.1} s, aim all of them in {} s: {}.",
            crowd.services,
            round.checked,
            round.took.as_secs_f64(),
            AIM_CROWD.as_secs(),
            verdict(round.checked == crowd.services && round.took < AIM_CROWD),
        )?;
    }
    let (spent, met) = match idle.map(milliseconds) {
        Some(spent) => (format!("{spent:.1} ms"), verdict(spent < AIM_IDLE_MS)),
        None => ("unknown".to_owned(), "unknown"),
    };
    writeln!(
        text,
        "- A round over {IDLE_SERVICES} healthy services: {spent} of own processor time (mean of {} rounds), aim \
         {AIM_IDLE_MS} ms: {met}.",
        plan.idle,
    )?;
    Ok(())
}

//! The local stack: every HTTP function's own router on one port, the schedules, and the bus with its journal, in one process.
//!
//! A new function is added here: an HTTP one by merging its router in `routes`, a scheduled one in `scheduler`.
//! Invariant: what runs here is the library code that the Lambdas run; only the edges differ.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::{Extension, Router};
use chrono::Utc;
use probe::app::ProbeConfig;
use secrecy::{ExposeSecret, SecretString};
use sentry_webhook::app::SentryConfig;
use shared::applications::Directory;
use shared::bus::Bus;
use shared::config::{DatabaseConfig, Environment};
use shared::counters::Counters;
use shared::defer::bus::BusDeferral;
use shared::dsn::{DsnSecret, KeyVersion, PublicKey};
use shared::http::{Exposure, TrustedProxies, with_fallbacks};
use shared::intake::{Intake, IntakeConfig};
use shared::publish::{BusConfig, Publisher};
use shared::redact::Redactor;
use shared::security::Watch;
use shared::store::{PoolSize, Store, chain};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bus::{Consumer, Delivery, LocalBus};
use crate::journal::Journal;
use crate::scheduler;
use crate::server::{self, ConnectionLimits};
use notify::app::NotifyConfig;
use pagerduty_events::app::PagerDutyConfig;

/// The configuration of a stack.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// A migrated database.
    pub database: DatabaseConfig,
    /// Who may call.
    pub access: AccessConfig,
    /// The bus: of AWS if it is named, else the local one, if there is a journal.
    pub bus: BusConfig,
    /// The folder of the bus's journal: events for the functions, and deferred records. None = no local bus: while the database
    /// is unavailable reports are refused, and events stay in the outbox.
    pub journal: Option<PathBuf>,
    /// The intake of reports.
    pub intake: IntakeConfig,
    /// The Sentry integration.
    pub sentry: SentryConfig,
    /// The secret of DSN keys.
    pub dsn_secret: DsnSecret,
    /// The probe.
    pub probe: ProbeConfig,
    /// The notification channels.
    pub notify: NotifyConfig,
    /// The secrets that vendors sign their webhooks with.
    pub vendors: VendorsConfig,
    /// The schedules that run.
    pub ticks: Ticks,
}

/// The keys of callers. Reading and changing is closed without its key; without `INGEST_API_KEY` programs of this machine may
/// report errors.
#[derive(Debug, Clone, Default)]
pub struct AccessConfig {
    /// `INGEST_API_KEY`: may report errors.
    pub ingest_key: Option<SecretString>,
    /// `READ_TOKEN`: may read state.
    pub read_token: Option<SecretString>,
    /// `ADMIN_TOKEN`: may change it.
    pub admin_token: Option<SecretString>,
    /// `TRUSTED_PROXIES`: their headers name the client's address.
    pub trusted_proxies: TrustedProxies,
}

impl AccessConfig {
    /// Reads `INGEST_API_KEY`, `READ_TOKEN`, `ADMIN_TOKEN` and `TRUSTED_PROXIES`.
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            ingest_key: environment.token("INGEST_API_KEY"),
            read_token: environment.token("READ_TOKEN"),
            admin_token: environment.token("ADMIN_TOKEN"),
            trusted_proxies: TrustedProxies::read(environment),
        }
    }

    /// Warns of a shared token: a client that may report or read could change things, too.
    fn warn_of_equal_tokens(&self) {
        let tokens = [&self.ingest_key, &self.read_token, &self.admin_token]
            .map(|token| token.as_ref().map(ExposeSecret::expose_secret));
        let [ingest, read, admin] = tokens;
        if admin.is_some() && (admin == ingest || admin == read) {
            tracing::warn!(
                "ADMIN_TOKEN is also the token for reading or reporting: a client that has it may change things, too"
            );
        }
    }
}

/// The secrets that vendors sign their webhooks with. Each route is closed without its secret.
#[derive(Debug, Clone, Default)]
pub struct VendorsConfig {
    /// `SLACK_SIGNING_SECRET`.
    pub slack: Option<SecretString>,
    /// PagerDuty's secret and API.
    pub pagerduty: PagerDutyConfig,
    /// `SENDGRID_WEBHOOK_PUBLIC_KEY`.
    pub sendgrid: Option<String>,
}

impl VendorsConfig {
    /// Reads their variables.
    #[must_use]
    pub fn read(environment: &mut Environment<'_>) -> Self {
        Self {
            slack: environment.secret("SLACK_SIGNING_SECRET"),
            pagerduty: PagerDutyConfig::read(environment),
            sendgrid: environment.optional("SENDGRID_WEBHOOK_PUBLIC_KEY"),
        }
    }
}

/// Which schedules run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticks {
    /// The wall clock, on each minute.
    EachMinute,
    /// Only the caller of [`Stack::probe`]'s App.
    None,
    /// As [`Self::None`], and without the sweeps of each second: only requests use the database.
    NoneAndNoSweeps,
}

/// The shared dependencies of the functions: one of each, because they have counters and caches.
struct Common {
    store: Store,
    publisher: Publisher,
    intake: Intake,
    dsn_secret: DsnSecret,
    directory: Directory,
    counters: Counters,
    watch: Watch,
}

impl Common {
    /// Flushes the counters: the process is about to end.
    async fn flush(&self) {
        tokio::join!(self.directory.flush(), self.counters.flush(), self.watch.flush());
    }
}

/// A running stack.
pub struct Stack {
    address: SocketAddr,
    common: Common,
    probe: probe::App,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    scheduler: Option<JoinHandle<()>>,
    sweeps: Option<JoinHandle<()>>,
    notify: notify::App,
    delivery: Option<Delivery>,
}

/// Reserves a port on the loopback interface.
///
/// # Errors
/// When another program has it.
pub async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
        format!("can't listen on port {port} of 127.0.0.1: is another program using it? Choose another with --port")
    })
}

impl Stack {
    /// The time budget of running requests when the stack stops.
    const LAST_REQUESTS: Duration = Duration::from_millis(1_200);

    /// Starts the stack on a reserved port.
    ///
    /// # Errors
    /// When its configuration can't be used. Does not touch the database.
    pub async fn start(listener: TcpListener, config: StackConfig) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let store = Store::new(&config.database, "watchkeeper-local", PoolSize::LOCAL)
            .context("the database's connection string can't be used")?;
        let journal = config.journal.as_deref().map(Journal::open).transpose()?;
        let local_bus = journal.map(LocalBus::new).transpose()?;
        let publisher = publisher(&store, config.bus, local_bus.as_ref());
        let redactor = config.intake.redactor.clone();
        let intake = Intake::new(store.clone(), publisher.clone(), config.intake).with_group_commit();
        let replay = replay::App::in_order(intake.clone());
        let intake = match &local_bus {
            Some(bus) => intake.with_deferral(Arc::new(deferral_to(bus))),
            None => intake,
        };
        intake.refresh_settings().await;
        let probe = probe::App::new(store.clone(), publisher.clone(), config.probe)?;
        let common = Common {
            directory: Directory::new(store.clone()),
            counters: Counters::new(store.clone()),
            watch: Watch::new(store.clone()),
            dsn_secret: config.dsn_secret,
            intake: intake.clone(),
            publisher,
            store,
        };
        let router = routes(&common, &config.access, &config.sentry, &config.vendors, redactor)?;
        let notify = notify::App::new(common.store.clone(), config.notify)?;
        if config.ticks != Ticks::NoneAndNoSweeps
            && let Err(error) = notify::register_receivers(&notify, Utc::now()).await
        {
            tracing::debug!(error = %chain(error.as_ref()), "the first sweep registers the receivers");
        }
        let (stop, stopped) = watch::channel(false);
        config.access.warn_of_equal_tokens();
        let server = tokio::spawn(server::serve(listener, router, ConnectionLimits::of_process(), stopped.clone()));
        let dispatch = dispatch::App::new(common.store.clone(), common.publisher.clone());
        let delivery = local_bus.map(|bus| bus.serve(&consumers(&notify, &dispatch, &replay))).transpose()?;
        let sweeps = (config.ticks != Ticks::NoneAndNoSweeps).then(|| {
            tokio::spawn(scheduler::sweep_each_second(dispatch.clone(), notify.clone(), common.directory.clone()))
        });
        let scheduler = (config.ticks == Ticks::EachMinute).then(|| {
            tokio::spawn(scheduler::run(
                probe.clone(),
                dispatch,
                maintain::App::new(common.store.clone()),
                intake,
                stopped,
            ))
        });
        Ok(Self { address, common, probe, stop, server, scheduler, sweeps, notify, delivery })
    }

    /// Where it listens, as `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The DSN of an application here, with this key.
    #[must_use]
    pub fn dsn(&self, project: i64, version: KeyVersion) -> String {
        PublicKey::of(&self.common.dsn_secret, project, version).dsn(&self.url(), project)
    }

    /// The probe of this stack, for an unscheduled round.
    #[must_use]
    pub fn probe(&self) -> &probe::App {
        &self.probe
    }

    /// Accepts no more requests, waits for the running ones, and returns within about a second.
    pub async fn stop(self) {
        // Fails only when everything has ended already.
        let _ = self.stop.send(true);
        if let Some(scheduler) = self.scheduler {
            // An aborted round leaves its claims, which expire.
            scheduler.abort();
        }
        if let Some(sweeps) = self.sweeps {
            sweeps.abort();
        }
        let server = self.server.abort_handle();
        // Notifications that are being sent have the same budget.
        let (served, ()) = tokio::join!(
            tokio::time::timeout(Self::LAST_REQUESTS, self.server),
            self.notify.stop_sending(Self::LAST_REQUESTS)
        );
        if served.is_err() {
            tracing::warn!("a request was still running and was cut off");
            server.abort();
        }
        // After the last request, which may defer a report, too.
        if let Some(delivery) = self.delivery {
            delivery.stop().await;
        }
        self.common.flush().await;
    }
}

/// Publishes to the named bus, else to the local one.
fn publisher(store: &Store, config: BusConfig, local: Option<&LocalBus>) -> Publisher {
    match local {
        Some(local) if config.event_bus_name.is_none() => {
            Publisher::over(store.clone(), Bus::over(local.clone()), config.publish_budget)
        }
        _ => Publisher::new(store.clone(), config),
    }
}

/// Deferral to the local bus. The bus has no deadline of its own: it answers after the `fsync`.
fn deferral_to(bus: &LocalBus) -> BusDeferral {
    const PATIENCE: Duration = Duration::from_secs(10);
    BusDeferral::with_patience(Bus::over(bus.clone()), PATIENCE, PATIENCE)
}

/// The functions that read queues, by their names in the template.
fn consumers(
    notify: &notify::App,
    dispatch: &dispatch::App,
    replay: &replay::App,
) -> BTreeMap<&'static str, Arc<dyn Consumer>> {
    BTreeMap::from([
        ("NotifyFunction", Arc::new(notify.clone()) as Arc<dyn Consumer>),
        ("DispatchFunction", Arc::new(dispatch.clone()) as Arc<dyn Consumer>),
        ("ReplayFunction", Arc::new(replay.clone()) as Arc<dyn Consumer>),
    ])
}

/// Every HTTP function's own router on one port.
fn routes(
    common: &Common,
    access: &AccessConfig,
    sentry: &SentryConfig,
    vendors: &VendorsConfig,
    redactor: Redactor,
) -> anyhow::Result<Router> {
    let Common { store, intake, publisher, directory, counters, watch, dsn_secret } = common;
    let report_error =
        report_error::App::new(intake.clone(), watch.clone(), access.ingest_key.clone(), Exposure::Loopback);
    let means = sentry_webhook::app::Dependencies {
        intake: intake.clone(),
        store: store.clone(),
        publisher: publisher.clone(),
        counters: counters.clone(),
        watch: watch.clone(),
    };
    let sentry_webhook = sentry_webhook::App::new(means, sentry.clone());
    let sentry_envelope = sentry_envelope::App {
        intake: intake.clone(),
        store: store.clone(),
        directory: directory.clone(),
        counters: counters.clone(),
        watch: watch.clone(),
        dsn_secret: Some(dsn_secret.clone()),
        decoding: sentry_envelope::Decoding::default(),
    };
    let heartbeat_deferral = intake.deferral(Store::DEADLINE).with_budget(heartbeat::App::STORE_BUDGET);
    let heartbeat = heartbeat::App::new(store.clone(), watch.clone(), redactor, heartbeat_deferral);
    let jobs = heartbeat.clone();
    tokio::spawn(async move { jobs.load_tokens().await });
    let status = status::App::new(store.clone(), watch.clone(), access.read_token.clone());
    let admin = admin::App::new(store.clone(), publisher.clone(), watch.clone(), access.admin_token.clone());
    let slack_actions = slack_actions::App::new(store.clone(), publisher.clone(), watch.clone(), vendors.slack.clone())
        .with_store_budget(intake.store_budget());
    let pagerduty_events =
        pagerduty_events::App::new(store.clone(), publisher.clone(), watch.clone(), vendors.pagerduty.clone())?
            .with_store_budget(intake.store_budget());
    let email_events = email_events::App::new(store.clone(), watch.clone(), vendors.sendgrid.clone());
    Ok(with_fallbacks(
        Router::new()
            .merge(report_error::router(report_error))
            .merge(sentry_webhook::router(sentry_webhook))
            .merge(sentry_envelope::router(sentry_envelope))
            .merge(heartbeat::router(heartbeat))
            .merge(status::router(status))
            .merge(admin::router(admin))
            .merge(slack_actions::router(slack_actions))
            .merge(pagerduty_events::router(pagerduty_events))
            .merge(email_events::router(email_events)),
    )
    .layer(Extension(access.trusted_proxies.clone())))
}

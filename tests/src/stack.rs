//! The local stack, in this process, on a database and a port of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use local::stack::{AccessConfig, Stack, StackConfig, Ticks, VendorsConfig, listen};
use notify::app::NotifyConfig;
use probe::app::ProbeConfig;
use probe::check::CheckerConfig;
use probe::net::guard::Cidr;
use probe::{RoundReport, check_now};
use secrecy::SecretString;
use sentry_webhook::app::SentryConfig;
use serde_json::Value;
use shared::config::{DatabaseConfig, Environment, Secrets};
use shared::dsn::{DsnSecret, KeyVersion};
use shared::http::TrustedProxies;
use shared::intake::IntakeConfig;
use shared::model::{ApplicationChanges, ApplicationName, ServiceSpec};
use shared::publish::{BusConfig, Publisher};
use shared::redact::Redactor;
use shared::store::applications;
use shared::store::services::{self, Origin};
use tempfile::TempDir;

use crate::database::as_agent;
use crate::{Answer, Database};

/// A running stack. It has no scheduled ticks: a test calls [`TestStack::check_now`].
pub struct TestStack {
    /// Its database.
    pub database: Database,
    stack: Stack,
    http: reqwest::Client,
    _folder: Option<TempDir>,
}

/// The budget of database and bus, some hundred milliseconds in production: a busy machine needs more. A test that waits
/// until the budget is exceeded sets a short one.
const BUDGET: Duration = Duration::from_secs(10);

/// Builds a [`TestStack`]. By default errors are reported without a key, and no client may change state.
pub struct TestStackBuilder {
    access: AccessConfig,
    notify: NotifyConfig,
    vendors: VendorsConfig,
    intake: IntakeConfig,
    sentry: SentryConfig,
    event_bus_name: Option<String>,
    default_services: Vec<ServiceSpec>,
    secrets: Option<Secrets>,
    name_servers: Vec<SocketAddr>,
    database_url: Option<String>,
    journal: Option<PathBuf>,
    folder: Option<TempDir>,
    is_still: bool,
}

impl Default for TestStackBuilder {
    fn default() -> Self {
        Self {
            access: AccessConfig::default(),
            notify: NotifyConfig::default(),
            vendors: VendorsConfig::default(),
            intake: IntakeConfig { store_budget: BUDGET, ..IntakeConfig::default() },
            sentry: SentryConfig::default(),
            event_bus_name: None,
            default_services: Vec::new(),
            secrets: None,
            name_servers: Vec::new(),
            database_url: None,
            journal: None,
            folder: None,
            is_still: false,
        }
    }
}

impl TestStackBuilder {
    /// Errors are accepted with this key only.
    #[must_use]
    pub fn ingest_key(mut self, key: &str) -> Self {
        self.access.ingest_key = Some(SecretString::from(key));
        self
    }

    /// These proxies are trusted to name the source of a request.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: &str) -> Self {
        let environment = Environment::from_lookup(|_| Some(proxies.to_owned()));
        self.access.trusted_proxies = environment.read(TrustedProxies::read).expect("they should be addresses");
        self
    }

    /// State is changed with this token only.
    #[must_use]
    pub fn admin_token(mut self, token: &str) -> Self {
        self.access.admin_token = Some(SecretString::from(token));
        self
    }

    /// The channels of notifications.
    #[must_use]
    pub fn notify(mut self, config: NotifyConfig) -> Self {
        self.notify = config;
        self
    }

    /// The signing secrets of vendors.
    #[must_use]
    pub fn vendors(mut self, config: VendorsConfig) -> Self {
        self.vendors = config;
        self
    }

    /// Custom redaction patterns.
    #[must_use]
    pub fn redact_patterns(mut self, patterns: &[&str]) -> Self {
        self.intake.redactor = Redactor::with_patterns(patterns).expect("the patterns should be good");
        self
    }

    /// The budget of the database for reports that can be deferred.
    #[must_use]
    pub fn store_budget(mut self, budget: Duration) -> Self {
        self.intake.store_budget = budget;
        self
    }

    /// The secret of Sentry's signatures.
    #[must_use]
    pub fn sentry_secret(mut self, secret: &str) -> Self {
        self.sentry.client_secret = Some(SecretString::from(secret));
        self
    }

    /// The whole configuration of Sentry.
    #[must_use]
    pub fn sentry(mut self, config: SentryConfig) -> Self {
        self.sentry = config;
        self
    }

    /// Events are published on this bus.
    #[must_use]
    pub fn event_bus(mut self, name: &str) -> Self {
        self.event_bus_name = Some(name.to_owned());
        self
    }

    /// Default services, as from the environment.
    #[must_use]
    pub fn default_services(mut self, services: Vec<ServiceSpec>) -> Self {
        self.default_services = services;
        self
    }

    /// The stack connects to its database at another address, such as a proxy's.
    #[must_use]
    pub fn database_url(mut self, url: String) -> Self {
        self.database_url = Some(url);
        self
    }

    /// Defers reports to this folder while the database is unavailable.
    #[must_use]
    pub fn journal(mut self, folder: &Path) -> Self {
        self.journal = Some(folder.to_owned());
        self
    }

    /// Events are delivered to their functions: the local bus needs a journal, which gets a folder of its own.
    #[must_use]
    pub fn local_bus(mut self) -> Self {
        let folder = TempDir::new().expect("there should be room for a folder");
        self.journal = Some(folder.path().join("journal"));
        self.folder = Some(folder);
        self
    }

    /// No sweeps: only requests use the database.
    #[must_use]
    pub fn without_sweeps(mut self) -> Self {
        self.is_still = true;
        self
    }

    /// The secrets of the probe's environment.
    #[must_use]
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// The name servers of the probe.
    #[must_use]
    pub fn name_servers(mut self, servers: Vec<SocketAddr>) -> Self {
        self.name_servers = servers;
        self
    }

    /// Starts it on this database.
    pub async fn start(self, database: Database) -> TestStack {
        let url = as_agent(&self.database_url.unwrap_or_else(|| database.url()));
        let config = StackConfig {
            database: DatabaseConfig::at(SecretString::from(url)),
            access: AccessConfig { read_token: Some(SecretString::from(TestStack::READ_TOKEN)), ..self.access },
            bus: BusConfig { event_bus_name: self.event_bus_name, publish_budget: BUDGET, ..BusConfig::default() },
            journal: self.journal,
            intake: self.intake,
            sentry: self.sentry,
            dsn_secret: TestStack::dsn_secret(),
            probe: ProbeConfig {
                default_services: self.default_services,
                checker: CheckerConfig {
                    secrets: self.secrets.unwrap_or_default(),
                    name_servers: self.name_servers,
                    ..probe_config("test").checker
                },
                ..probe_config("test")
            },
            notify: self.notify,
            vendors: self.vendors,
            ticks: if self.is_still { Ticks::NoneAndNoSweeps } else { Ticks::None },
        };
        let listener = listen(0).await.expect("there should be a free port");
        let stack = Stack::start(listener, config).await.expect("the stack should start");
        TestStack { database, stack, http: reqwest_client(), _folder: self.folder }
    }
}

/// A probe that may connect to this machine.
fn probe_config(region: &str) -> ProbeConfig {
    ProbeConfig {
        default_services: Vec::new(),
        region: region.to_owned(),
        checker: CheckerConfig::new(Cidr::loopback(), Secrets::default(), Redactor::default()),
    }
}

pub(crate) fn reqwest_client() -> reqwest::Client {
    let tls = shared::tls::client_config(&shared::tls::Trust::PublicRoots).expect("TLS should be there");
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .timeout(std::time::Duration::from_secs(30))
        .build()
        .expect("an HTTP client should be there")
}

impl TestStack {
    /// The token for reading.
    pub const READ_TOKEN: &str = "read-token-of-the-tests";

    /// A stack on a migrated database of its own.
    pub async fn start() -> Self {
        Self::builder().start(Database::migrated().await).await
    }

    /// A stack with another configuration.
    #[must_use]
    pub fn builder() -> TestStackBuilder {
        TestStackBuilder::default()
    }

    /// The secret of its DSN keys.
    #[must_use]
    pub fn dsn_secret() -> DsnSecret {
        DsnSecret::new(SecretString::from("the DSN secret of a test's stack")).expect("it is long enough")
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        self.stack.url()
    }

    /// A client, for requests to other servers of a test.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// An application that may report with a DSN; its number.
    pub async fn application(
        &self,
        name: &str,
        environment: Option<&str>,
        changes: impl Into<ApplicationChanges>,
    ) -> i64 {
        let parse = |name: &str| ApplicationName::parse(name).expect("a name");
        let (name, environment, changes) = (&parse(name), &environment.map(parse), &changes.into());
        let upserted = self
            .database
            .store()
            .run(|client| async move {
                applications::upsert(&client, name, environment.as_ref(), changes, Utc::now()).await
            })
            .await;
        upserted.expect("the application should be stored").0.application.number
    }

    /// The DSN of an application, with its first key.
    #[must_use]
    pub fn dsn(&self, project: i64) -> String {
        self.stack.dsn(project, KeyVersion::FIRST)
    }

    /// Its probe.
    #[must_use]
    pub fn probe(&self) -> &probe::App {
        self.stack.probe()
    }

    /// A probe of this stack's database in another region.
    #[must_use]
    pub fn probe_in(&self, region: &str) -> probe::App {
        let store = self.database.store();
        let publisher = Publisher::new(store.clone(), BusConfig::default());
        probe::App::new(store, publisher, probe_config(region)).expect("the probe should start")
    }

    /// A sweep of this stack's database that publishes nothing.
    #[must_use]
    pub fn dispatch(&self) -> dispatch::App {
        let store = self.database.store();
        dispatch::App::new(store.clone(), Publisher::new(store, BusConfig::default()))
    }

    /// Reports an error, as JSON.
    pub async fn report(&self, body: Value) -> Answer {
        self.send(self.request("POST", "/api/autonomous/error").json(&body)).await
    }

    /// Reports an error that must be accepted.
    pub async fn report_ok(&self, body: Value) -> Answer {
        let answer = self.report(body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// Posts these bytes unchanged to the error API.
    pub async fn report_bytes(&self, body: impl Into<reqwest::Body>, content_type: Option<&str>) -> Answer {
        let mut request = self.request("POST", "/api/autonomous/error").body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        self.send(request).await
    }

    /// Gets a path, with the token for reading.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).bearer_auth(Self::READ_TOKEN)).await
    }

    /// A request to this stack, without any token, to be completed.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method's name");
        self.http.request(method, format!("{}{path}", self.url()))
    }

    /// Sends a request.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the stack should answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the answer should be complete");
        Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }

    /// Configures services, as `watchkeeper apply` does.
    pub async fn apply(&self, services: &[ServiceSpec]) {
        self.database
            .store()
            .run(|client| async move { services::upsert(&client, services, Origin::File, Utc::now()).await })
            .await
            .expect("the services should be stored");
    }

    /// A probe round of every service, now.
    pub async fn check_now(&self) -> RoundReport {
        check_now(self.probe(), std::time::Duration::ZERO, &|_, _| {}).await.expect("the round should be recorded")
    }

    /// Stops it.
    pub async fn stop(self) -> Database {
        self.stack.stop().await;
        self.database
    }
}

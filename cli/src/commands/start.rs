//! `watchkeeper start`: runs the local stack until a signal stops it; with `--demo`, until the demo ends.

mod signals;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::Utc;
use local::data_dir::{self, DataDir};
use local::postgres::{EmbeddedConfig, EmbeddedPostgres, embedded_postgres_dir};
use local::stack::{self, AccessConfig, Stack, StackConfig, Ticks};
use local::{migrations, server};
use notify::app::NotifyConfig;
use secrecy::{ExposeSecret as _, SecretString};
use sentry_webhook::app::SentryConfig;
use serde_json::json;
use shared::config::{DatabaseConfig, Statements};
use shared::dsn::DsnSecret;
use shared::store::{ConnectionSettings, PoolSize, Store, services};
use tokio::net::TcpListener;

use self::signals::Signals;
use crate::args::{Global, Start};
use crate::config::Config;
use crate::feed::Feed;
use crate::output::{counted, note, say};
use crate::{demo, logs};

/// The example request of the banner.
const EXAMPLE: &str = r#"{"error": {"message": "Database connection failed"}}"#;

/// The connection limit of the embedded server: the stack's own, and some for `psql` and Lambdas under test.
const MAX_CONNECTIONS: u16 = 100;

pub(super) async fn run(start: Start, global: &Global, config: Config) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let data_dir = DataDir::take(&global.data_dir)?;
    let listener = stack::listen(start.port.unwrap_or(config.port)).await?;
    // The demo prints its own lines, and JSON is for programs.
    let feed = (!start.demo && !global.json).then(Feed::start).transpose().context("start the feed")?;
    logs::to_files(data_dir.path(), config.rust_log.as_deref(), feed.clone())?;
    // The database is started with the same limit.
    server::raise_descriptor_limit();
    let launch = Launch { data_dir, demo: start.demo, json: global.json, feed };
    if !launch.json {
        say(concat!("watchkeeper ", env!("CARGO_PKG_VERSION")));
    }
    let database = tokio::select! {
        database = Database::start(&config, launch.data_dir.path()) => database?,
        () = signals.stop() => return Ok(ExitCode::SUCCESS),
    };
    let result = serve(&launch, config, &database, listener, &mut signals).await;
    database.stop().await?;
    result
}

/// The options of this start.
struct Launch {
    data_dir: DataDir,
    demo: bool,
    json: bool,
    /// The live feed, if it is shown.
    feed: Option<Feed>,
}

/// Migrates, serves until a signal or the end of the demo, and stops gracefully.
async fn serve(
    launch: &Launch,
    config: Config,
    database: &Database,
    listener: TcpListener,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    let applied = tokio::select! {
        applied = migrations::apply(&database.migrations) => applied?,
        () = signals.stop() => return Ok(ExitCode::SUCCESS),
    };
    for statement in migrations::grant_agent(&database.migrations).await? {
        tracing::warn!("left for a person to run, so that functions can log in as watchkeeper_agent: {statement}");
    }
    let sentry_secret = match config.sentry.client_secret {
        // The demo signs its own Sentry webhook.
        None if launch.demo => Some(SecretString::from(uuid::Uuid::new_v4().to_string())),
        given => given,
    };
    let access = launch.access(config.access)?;
    let keys = demo::Keys {
        ingest: access.ingest_key.clone(),
        read: access.read_token.clone(),
        sentry: sentry_secret.clone(),
    };
    let dsn_secret = match config.dsn_secret {
        Some(given) => given,
        None => launch.data_dir.dsn_secret()?,
    };
    let store = Store::new(&database.queries, "watchkeeper-start", PoolSize::LAMBDA)?;
    let url = format!("http://{}", listener.local_addr()?);
    let stack_config = StackConfig {
        database: database.queries.clone(),
        access: access.clone(),
        bus: config.bus,
        journal: Some(launch.data_dir.path().join("journal")),
        intake: config.intake,
        sentry: SentryConfig { client_secret: sentry_secret, ..config.sentry },
        dsn_secret: dsn_secret.clone(),
        probe: config.probe,
        notify: NotifyConfig { public_url: config.notify.public_url.or(Some(url.clone())), ..config.notify },
        vendors: config.vendors,
        ticks: if launch.demo { Ticks::None } else { Ticks::EachMinute },
    };
    // Written before the stack listens: a client that finds it ready finds its env file, too.
    launch.write_env(database, &url, &dsn_secret, &access)?;
    let code = match Stack::start(listener, stack_config).await {
        Ok(stack) => run_stack(launch, stack, &store, database, applied.len(), &keys, signals).await,
        Err(error) => Err(error),
    };
    launch.data_dir.remove_env();
    code
}

/// Runs the stack until a signal or the end of the demo, and stops it.
async fn run_stack(
    launch: &Launch,
    stack: Stack,
    store: &Store,
    database: &Database,
    applied: usize,
    keys: &demo::Keys,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    stack.probe().ensure_default_services().await?;
    let now = Utc::now();
    let services =
        store.run(|client| async move { services::list(&client, now).await }).await.context("read the services")?;
    launch.print_banner(database, applied, services.len(), &stack.url(), keys.ingest.is_some());
    let code = if launch.demo {
        tokio::select! {
            code = demo::run(&stack, store, keys, launch.json) => code,
            () = signals.stop() => Ok(ExitCode::SUCCESS),
        }
    } else {
        signals.stop().await;
        Ok(ExitCode::SUCCESS)
    };
    // No command uses the stack from now on.
    launch.data_dir.remove_env();
    match &launch.feed {
        // Has a timeout: a terminal or pipe that does not read must not block the stop.
        Some(feed) => feed.end("stopping".to_owned()),
        None if launch.json => {}
        None => say("stopping"),
    }
    stack.stop().await;
    code
}

impl Launch {
    /// The configured keys; read and admin tokens default to those of the data directory.
    fn access(&self, given: AccessConfig) -> anyhow::Result<AccessConfig> {
        let token = |given: Option<SecretString>, name| given.map_or_else(|| self.data_dir.token(name), Ok);
        let read_token = Some(token(given.read_token, "read_token")?);
        let admin_token = Some(token(given.admin_token, "admin_token")?);
        Ok(AccessConfig { read_token, admin_token, ..given })
    }

    fn write_env(
        &self,
        database: &Database,
        url: &str,
        dsn_secret: &DsnSecret,
        access: &AccessConfig,
    ) -> anyhow::Result<()> {
        let keys = [
            ("READ_TOKEN", &access.read_token),
            ("ADMIN_TOKEN", &access.admin_token),
            ("INGEST_API_KEY", &access.ingest_key),
        ];
        let mut variables = vec![
            ("DATABASE_URL", database.queries.url.expose_secret()),
            ("WATCHKEEPER_URL", url),
            (DsnSecret::VARIABLE, dsn_secret.expose()),
        ];
        variables.extend(keys.iter().filter_map(|(name, key)| Some((*name, key.as_ref()?.expose_secret()))));
        self.data_dir.write_env(&variables)
    }

    /// Prints the banner.
    fn print_banner(&self, database: &Database, applied: usize, services: usize, url: &str, needs_key: bool) {
        let files = self.data_dir.path().display();
        if self.json {
            say(json!({
                "url": url,
                "database": database.place,
                "migrations_applied": applied,
                "data_dir": files.to_string(),
                "services": services,
            }));
            return;
        }
        let schema = if applied == 0 { "up to date".to_owned() } else { format!("{applied} migrations applied") };
        say(format_args!("  database   {} ({schema})", database.place));
        say(format_args!("  listening  {url}"));
        say(format_args!("  files      {files} (env for psql and scripts, logs)"));
        if self.demo {
            return;
        }
        let hint = if services == 0 { ": add some with `watchkeeper apply FILE.toml`" } else { "" };
        say(format_args!("  probing    {}, on each minute{hint}", counted(services, "service")));
        say(format_args!("  try        {}", self.example(url, needs_key)));
        say("Ctrl-C stops it.");
    }

    /// A command that reports an error. It reads the key from the `env` file, so that the banner shows no key.
    fn example(&self, url: &str, needs_key: bool) -> String {
        let curl = format!("curl {url}/api/autonomous/error -H 'Content-Type: application/json' -d '{EXAMPLE}'");
        if !needs_key {
            return curl;
        }
        let env = data_dir::quoted(&data_dir::env_file(self.data_dir.path()).to_string_lossy());
        format!("(. {env} && {curl} -H \"Authorization: Bearer $INGEST_API_KEY\")")
    }
}

/// The database that the stack runs on.
struct Database {
    embedded: Option<EmbeddedPostgres>,
    queries: DatabaseConfig,
    migrations: DatabaseConfig,
    /// Its description for people.
    place: String,
}

impl Database {
    /// Uses the given database, or starts the embedded one.
    async fn start(config: &Config, data_dir: &Path) -> anyhow::Result<Self> {
        if let Some(url) = &config.database_url {
            let queries = config.database(url.clone());
            let place = |database: &DatabaseConfig, variable: &'static str| {
                let settings = ConnectionSettings::parse(database, "watchkeeper");
                settings.map(|it| it.database_place()).with_context(|| format!("{variable} can't be used"))
            };
            let named = place(&queries, "DATABASE_URL")?;
            let migrations = config.database(config.direct_url.as_ref().unwrap_or(url).clone());
            // Printed because the variable may be exported for another program, and this database is migrated now.
            note(match &config.direct_url {
                Some(_) => {
                    let direct = place(&migrations, "DIRECT_URL")?;
                    format!("using the database of DATABASE_URL ({named}), migrated over DIRECT_URL ({direct})")
                }
                None => format!("using the database of DATABASE_URL ({named})"),
            });
            return Ok(Self { embedded: None, migrations, queries, place: named });
        }
        let embedded = EmbeddedPostgres::start(EmbeddedConfig {
            install_dir: embedded_postgres_dir(),
            data_dir: data_dir.to_owned(),
            durable: true,
            max_connections: MAX_CONNECTIONS,
        })
        .await
        .context("start the embedded Postgres")?;
        let migrations = config.database(SecretString::from(embedded.url()));
        // There is no pooler in between.
        let queries = DatabaseConfig { statements: Statements::Prepared, ..migrations.clone() };
        let place = format!("embedded Postgres in {}", data_dir.join("postgres").display());
        Ok(Self { embedded: Some(embedded), migrations, queries, place })
    }

    async fn stop(self) -> anyhow::Result<()> {
        match self.embedded {
            Some(embedded) => embedded.stop().await.context("stop the embedded Postgres"),
            None => Ok(()),
        }
    }
}

//! `watchkeeper apply FILE.toml`: makes the services, and who is told of what, what the file says, all of it or nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::Utc;
use serde_json::{Value, json};
use shared::heartbeat::HeartbeatToken;
use shared::model::{Kind, Routing, ServiceSpec};
use shared::store::services::{self, Applied, Configured, Wanted};
use shared::store::{PoolSize, Store, settings};

use crate::args::{Apply, Global};
use crate::config::Config;
use crate::output::{misused, say};
use crate::services_file::changes::{Changes, Others};
use crate::services_file::routing_changes::RoutingChanges;
use crate::services_file::{self, ServicesFile};

pub(super) async fn run(apply: &Apply, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let file = match services_file::read(&apply.file) {
        Ok(file) => file,
        Err(error) => return Ok(misused(format_args!("{error:#}"))),
    };
    let store = Store::new(&config.queries(&global.data_dir)?, "watchkeeper-cli", PoolSize::LAMBDA)?;
    let (configured, stored) = read(&store).await?;
    let specs = file.specs();
    let others = if apply.prune { Others::Prune } else { Others::Keep };
    let changes = Changes::of(&specs, &configured, others);
    if let Err(error) = check_parents(&file, &apply.file, &configured, &changes) {
        return Ok(misused(format_args!("{error:#}")));
    }
    let heartbeats = Heartbeats::of(&specs, config, &global.data_dir)?;
    let routing = RoutingChanges::of(file.routing.as_ref(), &stored, others);
    let (changes, routing) = (&changes, &routing);
    let told = Told { file: &apply.file, changes, routing, heartbeats: &heartbeats, dry_run: apply.dry_run };
    if !global.json {
        told.before();
    }
    if !apply.dry_run {
        write(&store, &specs, changes, routing, &heartbeats).await?;
    }
    if global.json {
        say(told.as_json());
    } else {
        told.after();
    }
    Ok(ExitCode::SUCCESS)
}

/// The services, and who is told of what, as they are. What somebody has written there that makes no sense is as good as
/// nothing: it holds for nobody.
async fn read(store: &Store) -> anyhow::Result<(Vec<Configured>, Routing)> {
    let configured = store
        .run(|client| async move { services::list_configured(&client).await })
        .await
        .context("read the services")?;
    let routing =
        store.run(|client| async move { settings::find_routing(&client).await }).await.context("read the routes")?;
    let routing = routing.and_then(|routing| serde_json::from_value(routing).ok()).unwrap_or_default();
    Ok((configured, routing))
}

/// What will be there beside the file's services may be a parent too.
fn check_parents(file: &ServicesFile, path: &Path, configured: &[Configured], changes: &Changes) -> anyhow::Result<()> {
    let goes = |spec: &ServiceSpec| {
        changes.removed.iter().any(|it| (&it.service, &it.environment) == (&spec.name, &spec.environment))
    };
    let others: Vec<ServiceSpec> = configured.iter().map(|it| it.spec.clone()).filter(|spec| !goes(spec)).collect();
    file.check_parents(&others).map_err(|refusal| services_file::refused(path, &refusal))
}

async fn write(
    store: &Store,
    specs: &[ServiceSpec],
    changes: &Changes,
    routing: &RoutingChanges,
    heartbeats: &Heartbeats,
) -> anyhow::Result<Applied> {
    let removed: Vec<(String, String)> =
        changes.removed.iter().map(|it| (it.service.clone(), it.environment.clone())).collect();
    let token_hashes: BTreeMap<usize, String> =
        heartbeats.tokens.iter().map(|(place, token)| (*place, token.hash())).collect();
    let routing = routing.wanted.as_ref();
    let wanted = &Wanted { services: specs, token_hashes: &token_hashes, removed: &removed, routing };
    let now = Utc::now();
    store
        .run(|client| async move { services::apply(&client, wanted, now).await })
        .await
        .context("store what the file says")
}

/// The tokens of the services that are heartbeats, by their place in the file.
struct Heartbeats {
    tokens: BTreeMap<usize, HeartbeatToken>,
    /// Service, environment, and where its job reports.
    urls: Vec<(String, String, String)>,
}

impl Heartbeats {
    /// Asks for the server's secret only where there is a heartbeat.
    fn of(specs: &[ServiceSpec], config: &Config, data_dir: &Path) -> anyhow::Result<Self> {
        let places: Vec<usize> =
            specs.iter().enumerate().filter(|(_, spec)| spec.kind == Kind::Heartbeat).map(|(place, _)| place).collect();
        let mut heartbeats = Self { tokens: BTreeMap::new(), urls: Vec::new() };
        if places.is_empty() {
            return Ok(heartbeats);
        }
        let (secret, address) = (config.dsn_secret(data_dir)?, config.remote_url(data_dir)?);
        for place in places {
            let ServiceSpec { name, environment, .. } = &specs[place];
            let token = HeartbeatToken::of(&secret, name, environment);
            heartbeats.urls.push((name.clone(), environment.clone(), token.url(&address)));
            heartbeats.tokens.insert(place, token);
        }
        Ok(heartbeats)
    }
}

/// What is told of it.
struct Told<'a> {
    file: &'a Path,
    changes: &'a Changes,
    routing: &'a RoutingChanges,
    heartbeats: &'a Heartbeats,
    dry_run: bool,
}

impl Told<'_> {
    /// The changes, before they are made.
    fn before(&self) {
        for line in self.changes.lines().into_iter().chain(self.routing.lines()) {
            say(shared::model::text::one_line(&line));
        }
    }

    fn after(&self) {
        let services = Some(self.changes.summary()).filter(|services| !services.is_empty());
        let all: Vec<String> = services.into_iter().chain(self.routing.summary()).collect();
        let summary = if all.is_empty() { "nothing".to_owned() } else { all.join("; ") };
        if self.dry_run {
            say(format_args!("{}: would be {summary}. Nothing was changed (--dry-run).", self.file.display()));
        } else {
            say(format_args!("{}: {summary}.", self.file.display()));
        }
        let named = |what: &'static str, all: &[String]| {
            all.iter().map(move |name| format!("{what} {name}")).collect::<Vec<_>>()
        };
        let mut kept: Vec<String> = self.changes.kept.iter().map(ToString::to_string).collect();
        kept.extend(named("route", &self.routing.routes.kept));
        kept.extend(named("escalation", &self.routing.escalations.kept));
        if !kept.is_empty() {
            say(format_args!("Not in this file, and kept (--prune removes them): {}", kept.join(", ")));
        }
        for (service, environment, url) in &self.heartbeats.urls {
            say(format_args!("{service} ({environment}) reports with: curl -X POST {url}"));
        }
    }

    fn as_json(&self) -> Value {
        let heartbeats = self.heartbeats.urls.iter();
        let heartbeats: Vec<Value> = heartbeats
            .map(|(service, environment, url)| json!({ "service": service, "environment": environment, "url": url }))
            .collect();
        json!({
            "dry_run": self.dry_run,
            "added": self.changes.added,
            "changed": self.changes.changed,
            "removed": self.changes.removed,
            "unchanged": self.changes.unchanged,
            "kept": self.changes.kept,
            "routes": self.routing.routes,
            "escalations": self.routing.escalations,
            "heartbeats": heartbeats,
        })
    }
}

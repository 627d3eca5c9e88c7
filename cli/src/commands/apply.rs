//! `watchkeeper apply FILE.toml`: applies the services, routes and escalations of a file in one transaction.

mod removal;
mod report;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::Utc;
use shared::heartbeat::HeartbeatToken;
use shared::model::{FileName, Kind, Routing, ServiceSpec};
use shared::store::services::{self, Configured, Source, Wanted};
use shared::store::{PoolSize, Store, heartbeats, settings};

use self::removal::Removal;
use self::report::Report;
use crate::args::{Apply, Global};
use crate::config::Config;
use crate::output::{misused, say};
use crate::selection::{Issuer, Target};
use crate::services_file::changes::{Changes, Others};
use crate::services_file::routing_changes::RoutingChanges;
use crate::services_file::{self, ServicesFile};

pub(super) async fn run(apply: &Apply, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let (file, name) = match read_file(&apply.file, apply.prune) {
        Ok(read) => read,
        Err(error) => return Ok(misused(format_args!("{error:#}"))),
    };
    let target = Target::of(config, &global.data_dir)?;
    let specs = file.specs();
    let issuer = Heartbeats::issuer(&specs, &target)?;
    let store = Store::new(&target.database()?, "watchkeeper-cli", PoolSize::LAMBDA)?;
    let stored = Stored::read(&store).await?;
    let heartbeats = Heartbeats::of(&specs, issuer, &stored.token_hashes);
    let others = if apply.prune { Others::Prune } else { Others::Keep };
    let changes = &Changes::of(&name, &specs, &stored.services, others);
    let routing =
        &RoutingChanges::of(&name, file.routing.as_ref(), &stored.routing, stored.routing_file.as_ref(), others);
    if let Err(error) = check_parents(&file, &apply.file, &stored.services, changes) {
        return Ok(misused(format_args!("{error:#}")));
    }
    removal::notice_another(&file, apply, &name, &stored)?;
    let report = Report {
        path: &apply.file,
        file: &name,
        changes,
        routing,
        heartbeats: &heartbeats.urls,
        dry_run: apply.dry_run,
    };
    if !global.json {
        report.before();
    }
    if !apply.dry_run {
        if !apply.yes && !Removal::of(changes, routing).is_confirmed().await? {
            say("Nothing was changed.");
            return Ok(ExitCode::FAILURE);
        }
        let source = Source { file: &name, owns_routing: file.routing.is_some() };
        write(&store, source, &specs, changes, routing, &heartbeats).await?;
    }
    if global.json {
        say(report.as_json());
    } else {
        report.after();
    }
    Ok(ExitCode::SUCCESS)
}

fn read_file(path: &Path, prune: bool) -> anyhow::Result<(ServicesFile, FileName)> {
    let file = services_file::read(path)?;
    if prune && !file.has_name(path) {
        anyhow::bail!("--prune needs the name of the file {}: set name = \"…\" at its top", path.display());
    }
    let name = file.name(path)?;
    Ok((file, name))
}

/// The configuration in the database.
struct Stored {
    services: Vec<Configured>,
    routing: Routing,
    routing_file: Option<FileName>,
    token_hashes: TokenHashes,
}

/// The hashes of heartbeats' tokens, by the name and environment of their services.
type TokenHashes = BTreeMap<(String, String), String>;

impl Stored {
    /// An invalid stored routing counts as none: notify ignores it, too.
    async fn read(store: &Store) -> anyhow::Result<Self> {
        let services = store.run(|client| async move { services::list_configured(&client).await });
        let services = services.await.context("read the services")?;
        let routing = store.run(|client| async move {
            Ok((settings::find_routing(&client).await?, settings::find_routing_file(&client).await?))
        });
        let (routing, routing_file) = routing.await.context("read the routes")?;
        let routing = routing.and_then(|routing| serde_json::from_value(routing).ok()).unwrap_or_default();
        let token_hashes = store.run(|client| async move { heartbeats::list_token_hashes(&client).await });
        let token_hashes = token_hashes.await.context("read the heartbeats")?;
        Ok(Self { services, routing, routing_file, token_hashes })
    }
}

/// Stored services that are not removed may be parents, too.
fn check_parents(file: &ServicesFile, path: &Path, configured: &[Configured], changes: &Changes) -> anyhow::Result<()> {
    let is_removed = |spec: &ServiceSpec| {
        changes.removed.iter().any(|it| (&it.service, &it.environment) == (&spec.name, &spec.environment))
    };
    let others: Vec<ServiceSpec> =
        configured.iter().map(|it| it.spec.clone()).filter(|spec| !is_removed(spec)).collect();
    file.check_parents(&others).map_err(|refusal| services_file::refused(path, &refusal))
}

async fn write(
    store: &Store,
    source: Source<'_>,
    specs: &[ServiceSpec],
    changes: &Changes,
    routing: &RoutingChanges,
    heartbeats: &Heartbeats,
) -> anyhow::Result<()> {
    let removed: Vec<(String, String)> =
        changes.removed.iter().map(|it| (it.service.clone(), it.environment.clone())).collect();
    let token_hashes: BTreeMap<usize, String> =
        heartbeats.tokens.iter().map(|(place, token)| (*place, token.hash())).collect();
    let routing = routing.wanted.as_ref();
    let wanted = &Wanted { services: specs, token_hashes: &token_hashes, removed: &removed, routing };
    let now = Utc::now();
    store
        .run(|client| async move { services::apply_from(&client, source, wanted, now).await })
        .await
        .context("store what the file says")?;
    Ok(())
}

/// The tokens of the services that are heartbeats, by their place in the file.
struct Heartbeats {
    tokens: BTreeMap<usize, HeartbeatToken>,
    /// Service, environment, and the URL for its job.
    urls: Vec<(String, String, String)>,
}

impl Heartbeats {
    /// Needs the server's secret only if there is a heartbeat.
    fn issuer(specs: &[ServiceSpec], target: &Target<'_>) -> anyhow::Result<Option<Issuer>> {
        let any = specs.iter().any(|spec| spec.kind == Kind::Heartbeat);
        Ok(if any { Some(target.issuer()?) } else { None })
    }

    fn of(specs: &[ServiceSpec], issuer: Option<Issuer>, stored: &TokenHashes) -> Self {
        let mut all = Self { tokens: BTreeMap::new(), urls: Vec::new() };
        let Some(Issuer { secret, address }) = issuer else { return all };
        let heartbeats = specs.iter().enumerate().filter(|(_, spec)| spec.kind == Kind::Heartbeat);
        for (place, spec) in heartbeats {
            let which = (spec.name.clone(), spec.environment.clone());
            let token = HeartbeatToken::in_force(&secret, spec, stored.get(&which).map(String::as_str));
            all.urls.push((which.0, which.1, token.url(&address)));
            all.tokens.insert(place, token);
        }
        all
    }
}

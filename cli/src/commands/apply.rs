//! `watchkeeper apply FILE.toml`: creates or changes services.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::Utc;
use serde_json::json;
use shared::store::services::{self, Origin};
use shared::store::{PoolSize, Store};

use crate::args::{Apply, Global};
use crate::config::Config;
use crate::output::{counted, misused, say};
use crate::services_file;

pub(super) async fn run(apply: &Apply, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let specs = match services_file::read(&apply.file) {
        Ok(specs) => specs,
        Err(error) => return Ok(misused(format_args!("{error:#}"))),
    };
    let store = Store::new(&config.queries(&global.data_dir)?, "watchkeeper-cli", PoolSize::LAMBDA)?;
    let specs = specs.as_slice();
    let now = Utc::now();
    let changed = store
        .run(|client| async move { services::upsert(&client, specs, Origin::File, now).await })
        .await
        .context("store the services")?;
    if global.json {
        say(json!({ "services": specs.len(), "changed": changed }));
    } else {
        let services = counted(specs.len(), "service");
        say(format_args!("{services} in {}, {changed} new or changed.", apply.file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

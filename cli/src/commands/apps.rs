//! `watchkeeper apps`: the applications that report with a DSN of ours.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::Utc;
use serde_json::{Value, json};
use shared::applications::{Application, Quota};
use shared::dsn::{DsnSecret, KeyVersion, PublicKey};
use shared::model::Limits;
use shared::store::applications::{self, StoredApplication, Usage};
use shared::store::{PoolSize, Store};

use crate::args::{AddApp, Apps, Global, NamedApp};
use crate::config::Config;
use crate::output::{misused, say, table};

pub(super) async fn run(apps: &Apps, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Store::new(&config.queries(&global.data_dir)?, "watchkeeper-cli", PoolSize::LAMBDA)?;
    match apps {
        Apps::Add(wanted) => add(wanted, &store, &Keys::of(config, global)?, global).await,
        Apps::List => list(&store, &Keys::of(config, global)?, global).await,
        Apps::RotateKey(named) => {
            let keys = Keys::of(config, global)?;
            match find(&store, named).await? {
                Found::One(stored) => rotate_key(stored, &store, &keys, global).await,
                Found::Several(which) => Ok(misused(which)),
            }
        }
        Apps::Remove(named) => match find(&store, named).await? {
            Found::One(stored) => remove(&stored, &store, global).await,
            Found::Several(which) => Ok(misused(which)),
        },
    }
}

/// What DSNs are made of.
struct Keys {
    secret: DsnSecret,
    address: String,
}

impl Keys {
    fn of(config: &Config, global: &Global) -> anyhow::Result<Self> {
        let secret = config.dsn_secret(&global.data_dir)?;
        Ok(Self { secret, address: config.remote_url(&global.data_dir)? })
    }

    fn dsn(&self, stored: &StoredApplication) -> String {
        let number = stored.application.number;
        PublicKey::of(&self.secret, number, stored.key_version).dsn(&self.address, number)
    }

    fn as_json(&self, stored: &StoredApplication) -> Value {
        let quota = |quota| stored.limits.of(quota);
        json!({
            "number": stored.application.number,
            "name": stored.application.name,
            "environment": stored.application.environment,
            "dsn": self.dsn(stored),
            "quotas": { "burst": quota(Quota::Burst), "hour": quota(Quota::Hour), "month": quota(Quota::Month) },
        })
    }
}

async fn add(wanted: &AddApp, store: &Store, keys: &Keys, global: &Global) -> anyhow::Result<ExitCode> {
    let limits = Limits { burst: wanted.burst, hour: wanted.per_hour, month: wanted.per_month };
    let now = Utc::now();
    let (stored, created) = store
        .run(|client| async move {
            applications::upsert(&client, &wanted.name, wanted.environment.as_ref(), limits, now).await
        })
        .await
        .context("store the application")?;
    if global.json {
        let mut answer = keys.as_json(&stored);
        answer["created"] = created.into();
        say(answer);
    } else {
        let what = if created { "added" } else { "was there already" };
        say(format_args!("{} {what} as application {}.", titled(&stored.application), stored.application.number));
        say(keys.dsn(&stored));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(store: &Store, keys: &Keys, global: &Global) -> anyhow::Result<ExitCode> {
    let now = Utc::now();
    let all = store
        .run(|client| async move { applications::list_usage(&client, None, now).await })
        .await
        .context("read the applications")?;
    if global.json {
        let each = |usage: &Usage| {
            let mut application = keys.as_json(&usage.stored);
            let [_, _, accepted] = usage.accepted;
            application["this_month"] = json!({ "accepted": accepted, "refused": usage.refused_in_month });
            application
        };
        say(json!({ "applications": all.iter().map(each).collect::<Vec<_>>() }));
    } else if all.is_empty() {
        say("No applications: add one with `watchkeeper apps add NAME`.");
    } else {
        let rows = all.iter().map(|usage| row(usage, keys)).collect();
        say(table(&["NUMBER", "NAME", "ENVIRONMENT", "THIS MONTH", "REFUSED", "DSN"], rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(usage: &Usage, keys: &Keys) -> Vec<String> {
    let application = &usage.stored.application;
    let [_, _, accepted] = usage.accepted;
    vec![
        application.number.to_string(),
        application.name.clone(),
        application.environment.clone().unwrap_or_else(|| "-".to_owned()),
        accepted.to_string(),
        usage.refused_in_month.to_string(),
        keys.dsn(&usage.stored),
    ]
}

async fn rotate_key(
    stored: StoredApplication,
    store: &Store,
    keys: &Keys,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let number = stored.application.number;
    let next = stored.key_version.0.checked_add(1).map(KeyVersion).context("this application has had all its keys")?;
    let now = Utc::now();
    let rotated = store
        .run(|client| async move { applications::raise_key_version(&client, number, next, now).await })
        .await
        .context("rotate the key")?
        .context("the application was removed in the meantime")?;
    if global.json {
        say(keys.as_json(&rotated));
    } else {
        say(format_args!(
            "{} has a new DSN; the old ones are refused within 10 seconds.",
            titled(&rotated.application)
        ));
        say(keys.dsn(&rotated));
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(stored: &StoredApplication, store: &Store, global: &Global) -> anyhow::Result<ExitCode> {
    let Application { number, name, environment } = &stored.application;
    let now = Utc::now();
    store
        .run(|client| async move { applications::mark_removed(&client, *number, now).await })
        .await
        .context("remove the application")?;
    if global.json {
        say(json!({ "number": number, "name": name, "environment": environment, "removed": true }));
    } else {
        say(format_args!("{} is removed; its DSNs are refused within 10 seconds.", titled(&stored.application)));
    }
    Ok(ExitCode::SUCCESS)
}

/// The application that somebody means.
enum Found {
    One(StoredApplication),
    /// Which one can't be told; a sentence that lists them.
    Several(String),
}

async fn find(store: &Store, named: &NamedApp) -> anyhow::Result<Found> {
    let now = Utc::now();
    let name = named.name.trim();
    // No name is a number.
    let candidates = match name.parse::<i64>() {
        Ok(number) => {
            let found = store.run(|client| async move { applications::find_usage(&client, number, now).await }).await;
            found.context("read the application")?.into_iter().collect()
        }
        Err(_) => store
            .run(|client| async move { applications::list_usage(&client, Some(name), now).await })
            .await
            .context("read the applications")?,
    };
    let candidates = candidates.into_iter().map(|usage| usage.stored).filter(|stored| !stored.removed).collect();
    choose(candidates, named)
}

/// The one that is meant: the only one of its name, or the only one in the environment that is named.
fn choose(mut candidates: Vec<StoredApplication>, named: &NamedApp) -> anyhow::Result<Found> {
    if let Some(environment) = &named.environment {
        candidates.retain(|stored| stored.application.environment.as_deref() == Some(environment.trim()));
    }
    if candidates.len() > 1 {
        let each: Vec<String> = candidates
            .iter()
            .map(|stored| format!("{} {}", stored.application.number, titled(&stored.application)))
            .collect();
        let which = format!("which one? Name its --environment or its number: {}", each.join(", "));
        return Ok(Found::Several(which));
    }
    match candidates.pop() {
        Some(stored) => Ok(Found::One(stored)),
        None => {
            let place = named.environment.as_ref().map(|it| format!(" in environment {it}")).unwrap_or_default();
            bail!("there is no application {}{place}", named.name)
        }
    }
}

fn titled(application: &Application) -> String {
    match &application.environment {
        Some(environment) => format!("{} ({environment})", application.name),
        None => application.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(number: i64, name: &str, environment: Option<&str>) -> StoredApplication {
        let application = Application { number, name: name.to_owned(), environment: environment.map(str::to_owned) };
        StoredApplication { application, key_version: KeyVersion::FIRST, removed: false, limits: Limits::default() }
    }

    #[test]
    fn a_name_means_the_only_one_that_has_it_or_the_one_in_its_environment() {
        let all = || vec![stored(1, "shop", None), stored(2, "shop", Some("test")), stored(3, "shop", Some("prod"))];
        for (candidates, environment, expected) in [
            (all(), Some("test"), Ok(2)),
            (all(), Some(" prod "), Ok(3)),
            (all(), None, Err("several")),
            (all(), Some("stage"), Err("none")),
            (all().split_off(2), None, Ok(3)),
            (Vec::new(), None, Err("none")),
        ] {
            let named = NamedApp { name: "shop".to_owned(), environment: environment.map(str::to_owned) };
            let found = match choose(candidates, &named) {
                Ok(Found::One(stored)) => Ok(stored.application.number),
                Ok(Found::Several(which)) => {
                    assert!(which.contains("1 shop, 2 shop (test), 3 shop (prod)"), "{which}");
                    Err("several")
                }
                Err(_) => Err("none"),
            };
            assert_eq!(found, expected, "{environment:?}");
        }
    }
}

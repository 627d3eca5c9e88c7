//! `watchkeeper apps`: applications and their DSNs.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::Utc;
use serde_json::{Value, json};
use shared::applications::{Application, Quota};
use shared::dsn::{DsnSecret, KeyVersion, PublicKey};
use shared::model::text::one_line;
use shared::model::{AllowedOrigins, ApplicationChanges, ApplicationName, Limits, SeverityBound};
use shared::store::applications::{self, StoredApplication, Usage};
use shared::store::{PoolSize, Store};

use crate::args::{AddApp, Apps, Global, NameOrNumber, NamedApp};
use crate::config::Config;
use crate::output::{misused, say};
use crate::selection::{Issuer, Target};

pub(super) async fn run(apps: &Apps, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    let target = &Target::of(config, &global.data_dir)?;
    // Reads the DSN secret first: nothing is changed if DSNs can't be shown.
    let keys = || Keys::of(target);
    let store =
        || -> anyhow::Result<Store> { Ok(Store::new(&target.database()?, "watchkeeper-cli", PoolSize::LAMBDA)?) };
    match apps {
        Apps::Add(wanted) => {
            let keys = keys()?;
            add(wanted, &store()?, &keys, global).await
        }
        Apps::List => {
            let keys = keys()?;
            list(&store()?, &keys, global).await
        }
        Apps::RotateKey(named) => {
            let (keys, store) = (keys()?, store()?);
            match find(&store, named).await? {
                ApplicationMatch::One(stored) => rotate_key(stored, &store, &keys, global).await,
                ApplicationMatch::Several(which) => Ok(misused(which)),
            }
        }
        Apps::Remove(named) => {
            let store = store()?;
            match find(&store, named).await? {
                ApplicationMatch::One(stored) => remove(&stored, &store, global).await,
                ApplicationMatch::Several(which) => Ok(misused(which)),
            }
        }
    }
}

/// Generates DSNs.
struct Keys {
    secret: DsnSecret,
    address: String,
}

impl Keys {
    fn of(target: &Target<'_>) -> anyhow::Result<Self> {
        let Issuer { secret, address } = target.issuer()?;
        Ok(Self { secret, address })
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
            "max_severity": stored.max_severity,
            "allowed_origins": stored.application.allowed_origins.texts(),
            "new_incidents_per_hour": stored.new_incidents_per_hour,
        })
    }
}

async fn add(wanted: &AddApp, store: &Store, keys: &Keys, global: &Global) -> anyhow::Result<ExitCode> {
    let (stored, before) = match (&wanted.name, &wanted.environment) {
        (NameOrNumber::Name(name), environment) => {
            let mut same = candidates(store, name.as_str()).await?;
            if let Some(environment) = environment {
                same.retain(|it| it.application.environment.as_deref() == Some(environment.as_str()));
            }
            match (environment, same.as_slice()) {
                (Some(_), _) | (None, []) => {
                    let (stored, created) = make(name, environment.as_ref(), wanted, store).await?;
                    // Another process may have added it meanwhile: then the old settings are unknown.
                    (stored.clone(), if created { None } else { Some(same.pop().unwrap_or(stored)) })
                }
                (None, [only]) => (change(only.application.number, wanted, store).await?, same.pop()),
                (None, several) => return Ok(misused(which_of(several))),
            }
        }
        (NameOrNumber::Number(number), None) => {
            let before = candidates(store, &number.to_string()).await?.pop();
            let stored = change(*number, wanted, store).await?;
            (stored.clone(), Some(before.unwrap_or(stored)))
        }
        (NameOrNumber::Number(_), Some(_)) => {
            return Ok(misused("an application's number is unique: leave --environment out"));
        }
    };
    if global.json {
        let mut answer = keys.as_json(&stored);
        answer["created"] = before.is_none().into();
        say(answer);
    } else {
        print_added(&stored, before.as_ref());
        say(keys.dsn(&stored));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what was added or changed.
fn print_added(stored: &StoredApplication, before: Option<&StoredApplication>) {
    let what = if before.is_none() { "added" } else { "already exists" };
    let name = one_line(&titled(&stored.application));
    say(format_args!("{name} {what} as application {}.", stored.application.number));
    match before {
        Some(before) => differences(before, stored).into_iter().for_each(say),
        None if stored.max_severity.is_some() || !stored.application.allowed_origins.is_any() => {
            bounds(stored).into_iter().for_each(say);
        }
        None => {}
    }
}

/// The changes that the flags ask for.
fn changes(wanted: &AddApp) -> ApplicationChanges {
    let (severity, new_incidents) = ApplicationChanges::BROWSER;
    let (browser_severity, browser_new) =
        (wanted.browser.then_some(SeverityBound::AtMost(severity)), wanted.browser.then_some(new_incidents));
    ApplicationChanges {
        limits: Limits { burst: wanted.burst, hour: wanted.per_hour, month: wanted.per_month },
        max_severity: wanted.max_severity.or(browser_severity),
        allowed_origins: (!wanted.origin.is_empty()).then(|| AllowedOrigins::new(wanted.origin.clone())),
        new_incidents_per_hour: wanted.new_per_hour.or(browser_new),
    }
}

/// Adds the application, or changes it if another process has added it meanwhile.
async fn make(
    name: &ApplicationName,
    environment: Option<&ApplicationName>,
    wanted: &AddApp,
    store: &Store,
) -> anyhow::Result<(StoredApplication, bool)> {
    let (changes, now) = (&changes(wanted), Utc::now());
    let stored =
        store.run(|client| async move { applications::upsert(&client, name, environment, changes, now).await });
    stored.await.context("store the application")
}

async fn change(number: i64, wanted: &AddApp, store: &Store) -> anyhow::Result<StoredApplication> {
    let (changes, now) = (&changes(wanted), Utc::now());
    let stored = store.run(|client| async move { applications::change(&client, number, changes, now).await });
    let stored = stored.await.context("store the application")?;
    stored.with_context(|| format!("there is no application {number}"))
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
        all.iter().flat_map(|usage| entry(usage, keys)).for_each(say);
    }
    Ok(ExitCode::SUCCESS)
}

/// An application, on lines of at most 80 characters where its name and the address allow that.
fn entry(usage: &Usage, keys: &Keys) -> Vec<String> {
    let Usage { stored, accepted: [_, _, accepted], refused_in_month } = usage;
    let mut lines = vec![
        format!("{} {}", stored.application.number, one_line(&titled(&stored.application))),
        format!("  DSN         {}", keys.dsn(stored)),
        format!("  this month  {accepted} events, {refused_in_month} refused"),
    ];
    lines.extend(bounds(stored));
    lines
}

/// The limits of an application, by name.
fn settings(stored: &StoredApplication) -> [(&'static str, Vec<String>); 6] {
    let quota = |quota| stored.limits.of(quota).map_or("any number of".to_owned(), |limit| format!("at most {limit}"));
    let severity = stored.max_severity.map_or("any".to_owned(), |severity| format!("at most {severity}"));
    let origins = stored.application.allowed_origins.texts();
    let origins = if origins.is_empty() { vec!["any".to_owned()] } else { origins };
    [
        ("burst", vec![format!("{} events in five minutes", quota(Quota::Burst))]),
        ("hour", vec![format!("{} events", quota(Quota::Hour))]),
        ("month", vec![format!("{} events", quota(Quota::Month))]),
        ("severity", vec![severity]),
        ("new", vec![format!("at most {} incidents an hour", stored.new_incidents_per_hour)]),
        ("origins", origins.iter().map(|origin| one_line(origin)).collect()),
    ]
}

/// The same, in lines.
fn bounds(stored: &StoredApplication) -> Vec<String> {
    let lines = settings(stored).into_iter().flat_map(|(name, texts)| {
        let names = std::iter::once(name).chain(std::iter::repeat(""));
        names.zip(texts).map(|(name, text)| format!("  {name:10}  {text}")).collect::<Vec<_>>()
    });
    lines.collect()
}

/// The settings that differ, in lines.
fn differences(before: &StoredApplication, now: &StoredApplication) -> Vec<String> {
    let both = settings(before).into_iter().zip(settings(now)).filter(|(before, now)| before != now);
    both.map(|((name, before), (_, now))| format!("  {name:10}  {} → {}", before.join(", "), now.join(", "))).collect()
}

async fn rotate_key(
    stored: StoredApplication,
    store: &Store,
    keys: &Keys,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let number = stored.application.number;
    let next = stored.key_version.0.checked_add(1).map(KeyVersion).context("this application has used all its keys")?;
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
    let Application { number, name, environment, .. } = &stored.application;
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

/// The result of a lookup by name or number.
enum ApplicationMatch {
    One(StoredApplication),
    /// Ambiguous; a sentence that lists them.
    Several(String),
}

async fn find(store: &Store, named: &NamedApp) -> anyhow::Result<ApplicationMatch> {
    choose(candidates(store, named.name.trim()).await?, named)
}

/// The applications of this name or number, without removed ones.
async fn candidates(store: &Store, name: &str) -> anyhow::Result<Vec<StoredApplication>> {
    let now = Utc::now();
    // No name is a number.
    let found = match name.parse::<i64>() {
        Ok(number) => {
            let found = store.run(|client| async move { applications::find_usage(&client, number, now).await }).await;
            found.context("read the application")?.into_iter().collect()
        }
        Err(_) => store
            .run(|client| async move { applications::list_usage(&client, Some(name), now).await })
            .await
            .context("read the applications")?,
    };
    Ok(found.into_iter().map(|usage| usage.stored).filter(|stored| !stored.removed).collect())
}

/// The only application of this name, or the only one in the named environment.
fn choose(mut candidates: Vec<StoredApplication>, named: &NamedApp) -> anyhow::Result<ApplicationMatch> {
    if let Some(environment) = &named.environment {
        candidates.retain(|stored| stored.application.environment.as_deref() == Some(environment.trim()));
    }
    if candidates.len() > 1 {
        return Ok(ApplicationMatch::Several(which_of(&candidates)));
    }
    match candidates.pop() {
        Some(stored) => Ok(ApplicationMatch::One(stored)),
        None => {
            let place = named.environment.as_ref().map(|it| format!(" in environment {it}")).unwrap_or_default();
            bail!("there is no application {}{place}", named.name)
        }
    }
}

/// The error message that lists the candidates.
fn which_of(candidates: &[StoredApplication]) -> String {
    let each: Vec<String> = candidates
        .iter()
        .map(|stored| format!("{} {}", stored.application.number, titled(&stored.application)))
        .collect();
    format!("ambiguous: name its --environment or its number: {}", each.join(", "))
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
        let application = Application {
            number,
            name: name.to_owned(),
            environment: environment.map(str::to_owned),
            allowed_origins: AllowedOrigins::default(),
        };
        StoredApplication {
            application,
            key_version: KeyVersion::FIRST,
            removed: false,
            limits: Limits::default(),
            max_severity: None,
            new_incidents_per_hour: 100,
        }
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
                Ok(ApplicationMatch::One(stored)) => Ok(stored.application.number),
                Ok(ApplicationMatch::Several(which)) => {
                    assert!(which.contains("1 shop, 2 shop (test), 3 shop (prod)"), "{which}");
                    Err("several")
                }
                Err(_) => Err("none"),
            };
            assert_eq!(found, expected, "{environment:?}");
        }
    }
}

//! `watchkeeper silence add | list | end`: suppresses notifications about some problems for some time.

use std::process::ExitCode;

use serde_json::{Value, json};
use shared::model::text::one_line;

use crate::args::{AddSilence, EndSilence, Global, Silence};
use crate::config::Config;
use crate::output::{local_instant, misused, say};
use crate::remote::Remote;
use crate::selection::{Purpose, Target};
use crate::table::{Column, Table, cut, whole};

const COLUMNS: [Column; 6] = [
    whole("SILENCE"),
    whole("UNTIL"),
    whole("FROM").optional(3),
    whole("BY").optional(1),
    cut("OF"),
    cut("WHY").optional(2),
];

const PATH: &str = "/api/silences";

pub(super) async fn run(silence: &Silence, global: &Global, config: &Config) -> anyhow::Result<ExitCode> {
    if let Silence::Add(wanted) = silence
        && !wanted.all
        && matchers(wanted).is_empty()
    {
        return Ok(misused("no matcher: name an --application, --service or the like, or pass --all"));
    }
    // Silences are read with the admin token, too.
    let server = Target::of(config, &global.data_dir)?.server(Purpose::Change)?;
    let answer = match silence {
        Silence::Add(wanted) => add(wanted, &server, config).await?,
        Silence::List => server.get(PATH, &[]).await?,
        Silence::End(EndSilence { id, by }) => {
            let body = json!({ "by": config.person(by.as_deref()) });
            server.delete(&format!("{PATH}/{id}"), &body).await?
        }
    };
    if global.json {
        say(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    match silence {
        Silence::Add(_) => {
            let (id, until) = (answer["id"].as_str().unwrap_or("-"), local_instant(&answer["ends_at"]));
            say(one_line(&format!(
                "No notifications about {} until {until}. Silence {id}",
                meant(&answer["matchers"])
            )));
        }
        Silence::List => print(&answer),
        Silence::End(EndSilence { id, .. }) => say(format_args!("Silence {id} has ended.")),
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(wanted: &AddSilence, server: &Remote, config: &Config) -> anyhow::Result<Value> {
    let body = json!({
        "matchers": matchers(wanted),
        "all": wanted.all,
        "duration": wanted.duration,
        "author": config.person(wanted.by.as_deref()),
        "comment": wanted.comment,
    });
    server.post(PATH, &body).await
}

/// The matchers of the options.
fn matchers(wanted: &AddSilence) -> serde_json::Map<String, Value> {
    [
        ("severity", &wanted.severity),
        ("category", &wanted.category),
        ("application", &wanted.application),
        ("environment", &wanted.environment),
        ("service", &wanted.service),
        ("tags", &wanted.tag),
    ]
    .into_iter()
    .filter(|(_, named)| !named.is_empty())
    .map(|(name, named)| (name.to_owned(), json!(named)))
    .collect()
}

fn print(answer: &Value) {
    let silences = answer["silences"].as_array().map(Vec::as_slice).unwrap_or_default();
    if silences.is_empty() {
        say("No silences.");
        return;
    }
    let row = |silence: &Value| {
        let text = |name: &str| silence[name].as_str().unwrap_or("-").to_owned();
        vec![
            text("id"),
            local_instant(&silence["ends_at"]),
            local_instant(&silence["starts_at"]),
            text("author"),
            meant(&silence["matchers"]),
            text("comment"),
        ]
    };
    say(Table::new(&COLUMNS, silences.iter().map(row).collect()));
}

/// The matchers in words.
fn meant(matchers: &Value) -> String {
    let mut words = Vec::new();
    for (name, named) in matchers.as_object().into_iter().flatten() {
        let named = named.as_array().map(Vec::as_slice).unwrap_or_default();
        if named.is_empty() {
            continue;
        }
        let each: Vec<&str> = named.iter().filter_map(Value::as_str).collect();
        // `hours` has objects.
        words.push(if each.is_empty() { format!("some {name}") } else { format!("{name} {}", each.join(", ")) });
    }
    if words.is_empty() { "everything".to_owned() } else { words.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_printed_in_words() {
        for (matchers, words) in [
            (
                json!({"application": ["shop", "blog"], "severity": ["LOW"], "tags": []}),
                "application shop, blog; severity LOW",
            ),
            (json!({"hours": [{"from": "x"}]}), "some hours"),
            (json!({"application": []}), "everything"),
        ] {
            assert_eq!(meant(&matchers), words);
        }
    }
}

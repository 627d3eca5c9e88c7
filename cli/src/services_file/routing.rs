//! `[[routes]]` and `[[escalations]]`. A file that has any of them replaces all of them; the order of routes matters.

use std::collections::BTreeMap;

use shared::model::{EscalationPolicy, Receiver, ReceiverError, Route, Routing};
use toml::de::DeTable;

use super::escalations;
use super::fields::{Fields, Value, get, list, text, wrong};
use super::problems::{Problems, Read, suggestion};
use super::routes;

/// Whether the file has routes or escalations.
pub(super) fn is_there(document: &DeTable<'_>) -> bool {
    ["routes", "escalations"].iter().any(|key| get(document, key).is_some())
}

/// The routing of the file, if it has any.
pub(super) fn read<'a>(document: &'a DeTable<'a>, problems: &mut Problems<'a>) -> Option<Routing> {
    if !is_there(document) {
        return None;
    }
    let mut escalations = Vec::new();
    for_each(document, "escalations", problems, |fields| escalations.push(escalations::read(fields)));
    let names: Vec<String> = escalations.iter().map(|policy| policy.name.clone()).collect();
    let mut routes = Vec::new();
    for_each(document, "routes", problems, |fields| routes.push(routes::read(fields, &names)));
    let routing = Routing { routes, escalations };
    // Problems of single entries have their own lines; this checks all of them together.
    if problems.is_none()
        && let Err(why) = routing.validate()
    {
        problems.note(0, why);
    }
    Some(routing)
}

/// Reads each table of this list; duplicate names are problems.
fn for_each<'a>(
    document: &'a DeTable<'a>,
    key: &str,
    problems: &mut Problems<'a>,
    mut each: impl FnMut(&mut Fields<'a, '_>),
) {
    let Some(value) = get(document, key) else { return };
    let Some(entries) = value.get_ref().as_array() else {
        problems.note(value.span().start, format_args!("{key} must be tables: [[{key}]]"));
        return;
    };
    let mut seen = BTreeMap::new();
    for entry in entries.iter() {
        let start = entry.span().start;
        let Some(own) = entry.get_ref().as_table() else {
            problems.note(start, format_args!("{key} must be tables: [[{key}]]"));
            continue;
        };
        let mut fields = Fields::new(own, Vec::new(), start, problems);
        each(&mut fields);
        let place = fields.place("name");
        if let Some(name) = get(own, "name").and_then(|name| name.get_ref().as_str()) {
            let line = problems.line(place);
            if let Some(first) = seen.insert(name.to_owned(), line) {
                problems.note(place, format_args!("name: \"{name}\" is already in line {first}"));
            }
        }
    }
}

/// The name, which is required.
pub(super) fn name(fields: &mut Fields<'_, '_>) -> String {
    if !fields.has("name") {
        fields.problems.note(fields.start, "name is missing");
    }
    let name = fields.read("name", |value| {
        let name = text(value)?;
        judge(value, "name", Route { name: name.clone(), ..Route::default() }).map(|()| name)
    });
    name.unwrap_or_default()
}

/// The receivers of a list, without duplicates.
pub(super) fn receivers(value: &Value<'_>) -> Read<Vec<Receiver>> {
    let mut seen = Vec::new();
    let read = list(value, receiver)?;
    for receiver in &read {
        if seen.contains(&receiver) {
            return wrong(value, format!("\"{receiver}\" is listed twice"));
        }
        seen.push(receiver);
    }
    Ok(read)
}

fn receiver(value: &Value<'_>) -> Read<Receiver> {
    let written = text(value)?;
    Receiver::parse(&written).or_else(|error| {
        let hint = match &error {
            ReceiverError::Channel(word) => {
                suggestion(word, shared::model::Channel::ALL.map(|channel| channel.as_str()))
            }
            ReceiverError::Name { .. } => String::new(),
        };
        wrong(value, format!("{error}{hint}"))
    })
}

/// Validates a route that has this setting only.
pub(super) fn judge(value: &Value<'_>, key: &str, route: Route) -> Read<()> {
    let route = if route.name.is_empty() && key != "name" { Route { name: "a".to_owned(), ..route } } else { route };
    check_routing(value, key, &Routing { routes: vec![route], escalations: Vec::new() })
}

/// Validates a policy.
pub(super) fn judge_policy(value: &Value<'_>, key: &str, policy: EscalationPolicy) -> Read<()> {
    let policy = EscalationPolicy { name: "a".to_owned(), ..policy };
    check_routing(value, key, &Routing { routes: Vec::new(), escalations: vec![policy] })
}

/// The validation error, without the name and the setting, which the line shows already.
fn check_routing(value: &Value<'_>, key: &str, routing: &Routing) -> Read<()> {
    let Err(why) = routing.validate() else { return Ok(()) };
    let why = why.split_once("\": ").map_or(why.as_str(), |(_, why)| why);
    let why = why.strip_prefix(key).map_or(why, |why| why.trim_start_matches([':', ' ']));
    wrong(value, why)
}

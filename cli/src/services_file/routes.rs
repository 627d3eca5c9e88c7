//! One `[[routes]]` entry.

use shared::model::{GroupLabel, Matchers, Route};

use super::fields::{Fields, Value, boolean, list, refuse_unknown, text, wrong};
use super::matchers::matchers;
use super::problems::{Read, suggestion};
use super::routing::{judge, name, receivers};
use super::times::seconds;

const KEYS: [&str; 9] = [
    "name",
    "match",
    "channels",
    "escalation",
    "group_by",
    "group_wait",
    "group_interval",
    "repeat_interval",
    "continue",
];

/// The route; `escalations` are the names of the file's policies.
pub(super) fn read(fields: &mut Fields<'_, '_>, escalations: &[String]) -> Route {
    refuse_unknown(fields.own(), &KEYS, fields.problems);
    if !fields.has("channels") {
        fields.problems.note(fields.start, "channels is missing: [] = no notifications");
    }
    Route {
        name: name(fields),
        matchers: fields.read("match", matchers).unwrap_or_default(),
        channels: channels(fields),
        escalation: fields.read("escalation", |value| escalation(value, escalations)),
        group_by: fields.read("group_by", labels).unwrap_or_default(),
        group_wait_seconds: time(fields, "group_wait", |seconds| Route {
            group_wait_seconds: seconds,
            ..Route::default()
        })
        .unwrap_or_default(),
        group_interval_seconds: time(fields, "group_interval", |seconds| Route {
            group_interval_seconds: Some(seconds),
            ..Route::default()
        }),
        repeat_interval_seconds: time(fields, "repeat_interval", |seconds| Route {
            repeat_interval_seconds: Some(seconds),
            ..Route::default()
        }),
        continues: fields.read("continue", boolean).unwrap_or_default(),
    }
}

fn channels(fields: &mut Fields<'_, '_>) -> Vec<shared::model::Receiver> {
    let read = fields.read("channels", |value| {
        let channels = receivers(value)?;
        judge(value, "channels", Route { channels: channels.clone(), ..Route::default() }).map(|()| channels)
    });
    read.unwrap_or_default()
}

/// A time of a route, if it is in its range.
fn time(fields: &mut Fields<'_, '_>, key: &str, route: impl FnOnce(u32) -> Route) -> Option<u32> {
    fields.read(key, |value| {
        let seconds = seconds(value)?;
        judge(value, key, route(seconds)).map(|()| seconds)
    })
}

fn escalation(value: &Value<'_>, known: &[String]) -> Read<String> {
    let name = text(value)?;
    if known.contains(&name) {
        return Ok(name);
    }
    let hint = suggestion(&name, known.iter().map(String::as_str));
    wrong(value, format!("there is no [[escalations]] \"{name}\" in this file{hint}"))
}

fn labels(value: &Value<'_>) -> Read<Vec<GroupLabel>> {
    let group_by = list(value, |value| {
        let word = text(value)?;
        let known = GroupLabel::ALL.map(GroupLabel::as_str);
        GroupLabel::parse(&word).map_or_else(
            || wrong(value, format!("must be one of {}{}", known.join(", "), suggestion(&word, known))),
            Ok,
        )
    })?;
    judge(value, "group_by", Route { group_by: group_by.clone(), ..Route::default() }).map(|()| group_by)
}

/// Checks matchers as those of a route.
pub(super) fn judge_matchers(value: &Value<'_>, key: &str, matchers: Matchers) -> Read<()> {
    judge(value, key, Route { matchers, ..Route::default() })
}

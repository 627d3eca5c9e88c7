//! Maintenance windows: `{ weekdays, start, end, time_zone }` or `{ from, until }`.

use chrono::{DateTime, NaiveTime, Utc, Weekday};
use shared::model::{MaintenanceWindow, Zone};
use toml::de::{DeTable, DeValue};

use super::fields::{Value, get, list, text, wrong};
use super::problems::{Read, Wrong, suggestion};

const ONCE: [&str; 2] = ["from", "until"];
const WEEKLY: [&str; 4] = ["weekdays", "start", "end", "time_zone"];

/// The windows of a list.
pub(super) fn windows(value: &Value<'_>) -> Read<Vec<MaintenanceWindow>> {
    list(value, window)
}

fn window(value: &Value<'_>) -> Read<MaintenanceWindow> {
    let Some(table) = value.get_ref().as_table() else {
        return wrong(value, "each window must be a table such as { start = \"22:00\", end = \"23:00\" }");
    };
    let mut all = Vec::new();
    for key in table.keys().filter(|key| !ONCE.iter().chain(&WEEKLY).any(|known| key.get_ref() == known)) {
        let hint = suggestion(key.get_ref(), ONCE.into_iter().chain(WEEKLY));
        all.push(Wrong { at: key.span().start, why: format!("\"{}\" is no setting of a window{hint}", key.get_ref()) });
    }
    if ONCE.iter().any(|key| get(table, key).is_some()) {
        if let Some(mixed) = WEEKLY.iter().find_map(|key| get(table, key)) {
            let why = "a window has either from and until, or start and end".to_owned();
            all.push(Wrong { at: mixed.span().start, why });
        }
        let from = part(value, table, "from", instant, &mut all);
        let until = part(value, table, "until", instant, &mut all);
        if let (Some(from), Some(until), true) = (from, until, all.is_empty()) {
            return Ok(MaintenanceWindow::Once { from, until });
        }
        return Err(all);
    }
    let start = part(value, table, "start", clock, &mut all);
    let end = part(value, table, "end", clock, &mut all);
    let time_zone = match get(table, "time_zone") {
        Some(zone) => collect(zone_of(zone), &mut all),
        None => Zone::parse("UTC"),
    };
    let weekdays = match get(table, "weekdays") {
        Some(days) => collect(list(days, weekday), &mut all),
        None => Some(Vec::new()),
    };
    match (start, end, time_zone, weekdays) {
        (Some(start), Some(end), Some(time_zone), Some(weekdays)) if all.is_empty() => {
            Ok(MaintenanceWindow::Weekly { weekdays, start, end, time_zone })
        }
        _ => Err(all),
    }
}

fn collect<T>(read: Read<T>, all: &mut Vec<Wrong>) -> Option<T> {
    read.map_err(|wrong| all.extend(wrong)).ok()
}

/// A required part.
fn part<'a, T>(
    window: &Value<'_>,
    table: &'a DeTable<'a>,
    key: &str,
    read: impl Fn(&'a Value<'a>) -> Read<T>,
    all: &mut Vec<Wrong>,
) -> Option<T> {
    match get(table, key) {
        Some(value) => collect(read(value), all),
        None => collect(wrong(window, format!("{key} is missing")), all),
    }
}

fn instant(value: &Value<'_>) -> Read<DateTime<Utc>> {
    let text = match value.get_ref() {
        DeValue::Datetime(written) => written.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    // TOML may leave out the seconds, and separate by a space.
    match DateTime::parse_from_rfc3339(&text) {
        Ok(instant) => Ok(instant.with_timezone(&Utc)),
        Err(_) => wrong(value, "must be a time with its offset, such as 2026-12-01T22:00:00Z"),
    }
}

fn clock(value: &Value<'_>) -> Read<NaiveTime> {
    let text = match value.get_ref() {
        DeValue::Datetime(written) => written.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    let read = NaiveTime::parse_from_str(&text, "%H:%M").or_else(|_| NaiveTime::parse_from_str(&text, "%H:%M:%S"));
    read.or_else(|_| wrong(value, "must be a time of day such as \"22:00\""))
}

fn zone_of(value: &Value<'_>) -> Read<Zone> {
    let name = text(value)?;
    match Zone::parse(&name) {
        Some(zone) => Ok(zone),
        None => {
            let hint = suggestion(&name, Zone::names());
            wrong(value, format!("\"{name}\" is no time zone, such as \"Europe/Berlin\"{hint}"))
        }
    }
}

fn weekday(value: &Value<'_>) -> Read<Weekday> {
    let name = text(value)?;
    name.parse().or_else(|_| wrong(value, format!("\"{name}\" is no weekday, such as \"sat\"")))
}

//! `match` of a route. Each of its lists may also be one value.

use shared::model::{Category, Matchers, Severity};
use toml::de::DeValue;

use super::fields::{Value, list, text, wrong};
use super::maintenance::windows;
use super::problems::{Read, Wrong, suggestion};
use super::routes::judge_matchers;

const KEYS: [&str; 7] = ["severity", "category", "application", "environment", "service", "tags", "hours"];

/// The matchers of a table.
pub(super) fn matchers(value: &Value<'_>) -> Read<Matchers> {
    let Some(table) = value.get_ref().as_table() else {
        return wrong(value, "must be a table such as { severity = [\"CRITICAL\"] }");
    };
    let (mut matchers, mut all) = (Matchers::default(), Vec::new());
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        let read = match name {
            "severity" => some(value, severity).map(|read| matchers.severity = read),
            "category" => some(value, category).map(|read| matchers.category = read),
            "application" => names(value, name).map(|read| matchers.application = read),
            "environment" => names(value, name).map(|read| matchers.environment = read),
            "service" => names(value, name).map(|read| matchers.service = read),
            "tags" => names(value, name).map(|read| matchers.tags = read),
            "hours" => hours(value, name).map(|read| matchers.hours = read),
            _ => {
                let why = format!("\"{name}\" is nothing to match by{}", suggestion(name, KEYS));
                Err(vec![Wrong { at: key.span().start, why }])
            }
        };
        if let Err(wrong) = read {
            all.extend(wrong.into_iter().map(|it| match KEYS.contains(&name) {
                true => Wrong { why: format!("{name}: {}", it.why), ..it },
                false => it,
            }));
        }
    }
    if all.is_empty() { Ok(matchers) } else { Err(all) }
}

/// A list, or one of its elements.
fn some<'a, T>(value: &'a Value<'a>, each: impl Fn(&'a Value<'a>) -> Read<T>) -> Read<Vec<T>> {
    match value.get_ref() {
        DeValue::Array(array) if array.is_empty() => wrong(value, "must name at least one: without it, all are meant"),
        DeValue::Array(_) => list(value, each),
        _ => Ok(vec![each(value)?]),
    }
}

fn severity(value: &Value<'_>) -> Read<Severity> {
    let word = text(value)?;
    let known = Severity::ALL.map(Severity::as_str);
    Severity::parse(&word).map_or_else(
        || {
            let hint = suggestion(&word.to_ascii_uppercase(), known);
            wrong(value, format!("must be CRITICAL, HIGH, MEDIUM or LOW{hint}"))
        },
        Ok,
    )
}

fn category(value: &Value<'_>) -> Read<Category> {
    let word = text(value)?;
    let known = Category::ALL.map(Category::as_str);
    Category::parse(&word)
        .map_or_else(|| wrong(value, format!("must be one of {}{}", known.join(", "), suggestion(&word, known))), Ok)
}

fn names(value: &Value<'_>, key: &str) -> Read<Vec<String>> {
    let names = some(value, text)?;
    let mut matchers = Matchers::default();
    match key {
        "application" => matchers.application.clone_from(&names),
        "environment" => matchers.environment.clone_from(&names),
        "service" => matchers.service.clone_from(&names),
        _ => matchers.tags.clone_from(&names),
    }
    judge_matchers(value, key, matchers).map(|()| names)
}

fn hours(value: &Value<'_>, key: &str) -> Read<Vec<shared::model::MaintenanceWindow>> {
    let hours = windows(value)?;
    judge_matchers(value, key, Matchers { hours: hours.clone(), ..Matchers::default() }).map(|()| hours)
}

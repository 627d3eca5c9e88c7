//! `limits` of a Postgres: the thresholds at which it is degraded. `false` = no threshold.

use shared::model::PostgresLimits;
use toml::de::DeValue;

use super::fields::{Value, number, whole, wrong};
use super::problems::{Read, Wrong, suggestion};
use super::times::seconds;

const KEYS: [&str; 6] =
    ["connections_ratio", "transaction", "blocked_backends", "deadlocks", "cache_hit_ratio", "size_bytes"];

/// The limits of a table; others have their defaults.
pub(super) fn limits(value: &Value<'_>) -> Read<PostgresLimits> {
    let Some(table) = value.get_ref().as_table() else {
        return wrong(value, "must be a table such as { connections_ratio = 0.8 }");
    };
    let (mut limits, mut all) = (PostgresLimits::default(), Vec::new());
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        let read = match name {
            "connections_ratio" => set(&mut limits.connections_ratio, value, number),
            "transaction" => set(&mut limits.transaction_seconds, value, seconds),
            "blocked_backends" => set(&mut limits.blocked_backends, value, whole),
            "deadlocks" => set(&mut limits.deadlocks, value, whole),
            "cache_hit_ratio" => set(&mut limits.cache_hit_ratio, value, number),
            "size_bytes" => set(&mut limits.size_bytes, value, whole),
            _ => {
                let hint = suggestion(name, KEYS);
                Err(vec![Wrong { at: key.span().start, why: format!("\"{name}\" is no limit{hint}") }])
            }
        };
        if let Err(wrong) = read {
            all.extend(wrong.into_iter().map(|it| match KEYS.contains(&name) {
                true => Wrong { why: format!("{name} {}", it.why), ..it },
                false => it,
            }));
        }
    }
    if all.is_empty() { Ok(limits) } else { Err(all) }
}

fn set<'a, T>(limit: &mut Option<T>, value: &'a Value<'a>, read: impl Fn(&'a Value<'a>) -> Read<T>) -> Read<()> {
    *limit = match value.get_ref() {
        DeValue::Boolean(false) => None,
        _ => Some(read(value)?),
    };
    Ok(())
}

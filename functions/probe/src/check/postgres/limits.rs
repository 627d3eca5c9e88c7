//! Compares a Postgres's measurements with their limits. Pure.

use serde_json::{Value, json};
use shared::model::PostgresLimits;
use shared::store::vitals::Vitals;

/// Deadlocks since the last check; none without a last check.
pub(super) fn new_deadlocks(now: &Vitals, before: Option<&Value>) -> Option<i64> {
    let before = before?.get("deadlocks")?.as_i64()?;
    // Statistics that were reset start at zero.
    Some(if now.deadlocks < before { now.deadlocks } else { now.deadlocks.saturating_sub(before) })
}

/// As it is stored until the next check.
pub(super) fn to_json(now: &Vitals, new_deadlocks: Option<i64>) -> Value {
    json!({
        "connections": now.connections,
        "max_connections": now.max_connections,
        "longest_transaction_seconds": now.longest_transaction_seconds.max(0.0).round(),
        "blocked_backends": now.blocked_backends,
        "deadlocks": now.deadlocks,
        "new_deadlocks": new_deadlocks,
        "cache_hit_ratio": now.cache_hit_ratio.map(|ratio| (ratio * 10_000.0).round() / 10_000.0),
        "size_bytes": now.size_bytes,
    })
}

/// Which limits are reached, each with its value; none = no limit is reached.
pub(super) fn reached(now: &Vitals, new_deadlocks: Option<i64>, limits: &PostgresLimits) -> Option<String> {
    let mut reached = Vec::new();
    #[expect(clippy::cast_precision_loss, reason = "a server takes less than 2^53 connections")]
    let used = now.connections as f64 / now.max_connections.max(1) as f64;
    if let Some(limit) = limits.connections_ratio.filter(|limit| used >= *limit) {
        let (used, most) = (now.connections, now.max_connections);
        reached.push(format!("{used} of {most} connections are used (limit {} %)", percent(limit)));
    }
    let oldest = now.longest_transaction_seconds;
    if let Some(limit) = limits.transaction_seconds.filter(|limit| oldest >= f64::from(*limit)) {
        reached.push(format!("a transaction has lasted {oldest:.0} s (limit {limit} s)"));
    }
    let blocked = now.blocked_backends;
    if let Some(limit) = limits.blocked_backends.filter(|limit| blocked >= i64::from(*limit)) {
        reached.push(format!("{blocked} backends wait for locks (limit {limit})"));
    }
    if let (Some(limit), Some(deadlocks)) = (limits.deadlocks, new_deadlocks)
        && deadlocks >= i64::from(limit)
    {
        reached.push(format!("{deadlocks} deadlocks since the last check (limit {limit})"));
    }
    if let (Some(limit), Some(ratio)) = (limits.cache_hit_ratio, now.cache_hit_ratio)
        && ratio < limit
    {
        reached.push(format!("{} % of blocks are found in memory (limit {} %)", percent(ratio), percent(limit)));
    }
    if let Some(limit) = limits.size_bytes.filter(|limit| u64::try_from(now.size_bytes).is_ok_and(|it| it >= *limit)) {
        reached.push(format!("the database has {} bytes (limit {limit})", now.size_bytes));
    }
    (!reached.is_empty()).then(|| reached.join("; "))
}

/// A share in percent, with one decimal if needed.
fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0).round() / 10.0;
    tenths.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Vitals {
        Vitals {
            connections: 12,
            max_connections: 100,
            longest_transaction_seconds: 1.5,
            blocked_backends: 0,
            deadlocks: 7,
            cache_hit_ratio: Some(0.99),
            size_bytes: 1_000,
        }
    }

    #[test]
    fn each_limit_is_described_with_its_value() {
        let limits =
            PostgresLimits { cache_hit_ratio: Some(0.95), size_bytes: Some(5_000), ..PostgresLimits::default() };
        assert_eq!(reached(&healthy(), Some(0), &limits), None);
        type Change = fn(&mut Vitals);
        let cases: [(Change, &str); 5] = [
            (|it| it.connections = 80, "80 of 100 connections are used (limit 80 %)"),
            (|it| it.longest_transaction_seconds = 300.2, "a transaction has lasted 300 s (limit 300 s)"),
            (|it| it.blocked_backends = 5, "5 backends wait for locks (limit 5)"),
            (|it| it.cache_hit_ratio = Some(0.9444), "94.4 % of blocks are found in memory (limit 95 %)"),
            (|it| it.size_bytes = 5_000, "the database has 5000 bytes (limit 5000)"),
        ];
        for (change, expected) in cases {
            let mut vitals = healthy();
            change(&mut vitals);
            assert_eq!(reached(&vitals, Some(0), &limits).as_deref(), Some(expected));
        }
        let text = reached(&Vitals { connections: 99, ..healthy() }, Some(2), &limits).unwrap();
        assert!(text.contains("; 2 deadlocks since the last check (limit 1)"), "{text}");
    }

    #[test]
    fn deadlocks_are_counted_since_the_last_check() {
        assert_eq!(new_deadlocks(&healthy(), None), None);
        for (before, new) in [(7, 0), (4, 3), (9, 7)] {
            assert_eq!(new_deadlocks(&healthy(), Some(&json!({ "deadlocks": before }))), Some(new), "{before}");
        }
        assert_eq!(new_deadlocks(&healthy(), Some(&json!({ "other": 1 }))), None);
    }

    #[test]
    fn a_limit_that_is_not_set_is_none() {
        let limits = PostgresLimits {
            connections_ratio: None,
            transaction_seconds: None,
            blocked_backends: None,
            deadlocks: None,
            cache_hit_ratio: None,
            size_bytes: None,
        };
        let worst = Vitals { connections: 100, blocked_backends: 99, cache_hit_ratio: Some(0.0), ..healthy() };
        assert_eq!(reached(&worst, Some(99), &limits), None);
    }
}

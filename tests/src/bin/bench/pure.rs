//! What criterion found out about the pure path (`cargo bench -p harness --bench pure`), for the kept results.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

const STEPS: [&str; 5] = ["all", "parse", "storable", "classify", "fingerprint"];

/// A table of the latest medians, or what to do for one.
pub(crate) fn table() -> anyhow::Result<String> {
    let mut table = "| Body | All, µs | Parse | Storable | Classify | Fingerprint |\n\
                     |---|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for size in ["1 kB", "11 kB"] {
        write!(table, "| {size} |")?;
        for step in STEPS {
            match median_ns(size, step) {
                Some(ns) => write!(table, " {:.2} |", ns / 1e3)?,
                None => write!(table, " – |")?,
            }
        }
        table.push('\n');
    }
    Ok(table)
}

/// The median time of an iteration.
fn median_ns(group: &str, function: &str) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    // target/release/bench
    let target: PathBuf = program.parent()?.parent()?.join("criterion");
    let text = std::fs::read_to_string(target.join(group).join(function).join("new/estimates.json")).ok()?;
    serde_json::from_str::<Value>(&text).ok()?["median"]["point_estimate"].as_f64()
}

//! The figures of criterion about the pure path (`cargo bench -p harness --bench pure`), for the kept results.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::figures::verdict;

const STEPS: [&str; 6] = ["all", "parse", "redact", "storable", "classify", "fingerprint"];

/// The aim for the path of a 10 kB event, in microseconds.
const AIM_EVENT_US: f64 = 300.0;
/// The aim: the rules as one automaton are this much faster than a loop of regular expressions.
const AIM_RULES: f64 = 4.0;
/// The aim for building them in a new process, in milliseconds.
const AIM_READY_MS: f64 = 1.0;

/// A table of the latest medians, or how to get one.
pub(crate) fn table() -> anyhow::Result<String> {
    let mut table = "| Body | All, µs | Parse | Redact | Storable | Classify | Fingerprint |\n\
                     |---|--:|--:|--:|--:|--:|--:|\n"
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
    if let Some(ns) = median_ns("Sentry event", "all") {
        let (us, met) = (ns / 1e3, verdict(ns / 1e3 < AIM_EVENT_US));
        writeln!(
            table,
            "\n- A signed event of 10 kB, from verifying to classifying: {us:.0} µs, aim {AIM_EVENT_US} µs: {met}."
        )?;
    }
    if let (Some(ours), Some(loops)) = (median_ns("Rules", "automaton"), median_ns("Rules", "regexes")) {
        let met = verdict(loops / ours >= AIM_RULES);
        writeln!(
            table,
            "- The built-in rules on a message of 100 characters: {:.2} µs, {:.1} times as fast as a loop of regular \
             expressions ({:.2} µs), aim {AIM_RULES}: {met}.",
            ours / 1e3,
            loops / ours,
            loops / 1e3
        )?;
    }
    let ready = |name: &str| median_ns("Rules", &format!("{name} ready")).map(|ns| ns / 1e6);
    if let (Some(rules), Some(redactor), Some(loops)) = (ready("automaton"), ready("redactor"), ready("regexes")) {
        let met = verdict(rules + redactor < AIM_READY_MS);
        writeln!(
            table,
            "- Ready in a new process: rules {rules:.3} ms, redaction {redactor:.3} ms (aim {AIM_READY_MS} ms together: {met}); \
             as regular expressions the rules alone take {loops:.2} ms."
        )?;
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

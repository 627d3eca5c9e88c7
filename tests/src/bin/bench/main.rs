//! `bench ingest` and `bench start`: the figures of the whole path, printed, and kept in `tests/benches/RESULTS.md`.
//!
//! Each brings its own Postgres (the embedded one, in a temporary directory). `make bench` runs both.
#![expect(clippy::print_stdout, reason = "a tool of the developers, not of the product")]

mod figures;
mod ingest;
mod load;
mod machine;
mod pgbench;
mod pure;
mod results;
mod server;
mod start;

use anyhow::bail;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (title, text) = match arguments.as_slice() {
        ["ingest"] => ("Ingest", ingest::run(&ingest::FULL).await?),
        ["ingest", "--short"] => ("Ingest", ingest::run(&ingest::SHORT).await?),
        ["start"] => ("Start", start::run().await?),
        _ => bail!("usage: bench ingest [--short] | bench start"),
    };
    println!("{text}");
    // A short run or a debug build is for trying the benchmark itself: its figures are not worth keeping.
    if !cfg!(debug_assertions) && !arguments.contains(&"--short") {
        println!("kept in {}", results::keep(title, &text)?.display());
    }
    Ok(())
}

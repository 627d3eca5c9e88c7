//! What the figures depend on: machine, versions, date.

use std::process::Command;

use chrono::Utc;

/// The paragraph above each table.
pub(crate) fn describe(postgres: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = output_of("uname", &["-srm"]);
    let dirty =
        if output_of("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { "+changes" };
    format!(
        "{} UTC. Machine: {}, {cores} cores, {kernel}. Versions: watchkeeper {}{dirty}, {}, Postgres {postgres}. \
         Builds: {}.",
        Utc::now().format("%Y-%m-%d %H:%M"),
        cpu(),
        output_of("git", &["rev-parse", "--short", "HEAD"]),
        output_of("rustc", &["--version"]),
        if cfg!(debug_assertions) { "debug, which says little" } else { "release, for size as deployed" },
    )
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    model.map_or_else(|| output_of("uname", &["-m"]), |name| name.trim().to_owned())
}

/// The output of a program; empty when it is missing.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

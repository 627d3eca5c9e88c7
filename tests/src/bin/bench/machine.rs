//! Where and of what the figures are: machine, versions, date.

use std::process::Command;

use chrono::Utc;

/// One paragraph that stands above each table.
pub(crate) fn describe(postgres: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = said("uname", &["-srm"]);
    let dirty =
        if said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { "+changes" };
    format!(
        "{} UTC. Machine: {}, {cores} cores, {kernel}. Versions: watchkeeper {}{dirty}, {}, Postgres {postgres}. \
         Builds: {}.",
        Utc::now().format("%Y-%m-%d %H:%M"),
        cpu(),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("rustc", &["--version"]),
        if cfg!(debug_assertions) { "debug, which says little" } else { "release, for size as deployed" },
    )
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    model.map_or_else(|| said("uname", &["-m"]), |name| name.trim().to_owned())
}

/// What a program prints; empty when it is not there.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

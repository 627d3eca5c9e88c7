//! A command uses either the Watchkeeper that the environment names or the local stack, and never parts of both.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use harness::Database;
use tokio::net::TcpListener;

use crate::commands::{file, stack};
use crate::process::{Ended, Stack, run, watchkeeper};
use harness::scratch::Scratch;

/// Runs a command on the data directory of a stack, in a shell that exports these.
async fn with(stack: &Stack, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = watchkeeper(arguments);
    command.arg("--data-dir").arg(stack.file("")).envs(variables.iter().copied());
    run(&mut command).await
}

const SERVICE: &str = "[[services]]\nname = \"shop\"\nurl = \"http://127.0.0.1:1/\"\n";

#[tokio::test]
async fn with_another_database_exported_no_command_mixes_it_with_the_stack_here() {
    let scratch = Scratch::new();
    let (stack, ours) = stack(&scratch).await;
    let other = Database::migrated().await;
    let (other_url, services) = (other.url(), file(&scratch, SERVICE));
    let exported = [("DATABASE_URL", other_url.as_str())];
    for arguments in [
        &["status"][..],
        &["incidents"],
        &["alerts"],
        &["send-test-error"],
        &["ack", "INC-1"],
        &["silence", "list"],
        &["apps", "add", "shop"],
        &["apps", "list"],
    ] {
        let refused = with(&stack, &exported, arguments).await.with_code(2);
        for expected in ["DATABASE_URL", "WATCHKEEPER_URL", "unset"] {
            assert!(refused.stderr.contains(expected), "{arguments:?} {expected}: {refused:?}");
        }
        assert!(refused.stdout.is_empty() && refused.stderr.lines().count() == 1, "{refused:?}");
    }
    let applied = with(&stack, &exported, &["apply", services.to_str().unwrap()]).await.with_code(0);
    assert!(applied.stderr.starts_with("watchkeeper: using the database of DATABASE_URL (127.0.0.1:"), "{applied:?}");
    assert!(applied.stderr.contains("not the stack in") && !applied.stderr.contains("password"), "{applied:?}");
    assert_eq!((ours.count("services").await, other.count("services").await), (0, 1));
    assert_eq!(ours.count("applications").await + other.count("applications").await, 0);
    let json = with(&stack, &exported, &["check", "--json"]).await;
    json.json();
    // The stack's own database, by another of its names, is no other one.
    let own = ours.url().replace("127.0.0.1", "localhost");
    let status = with(&stack, &[("DATABASE_URL", &own)], &["status"]).await.with_code(0);
    assert_eq!(status.stderr, "");
}

#[tokio::test]
async fn with_another_server_named_its_database_is_required() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let services = file(&scratch, SERVICE);
    let exported = [("WATCHKEEPER_URL", "https://watchkeeper.example.com")];
    for arguments in [&["check"][..], &["migrate"], &["notifications"], &["apply", services.to_str().unwrap()]] {
        let refused = with(&stack, &exported, arguments).await.with_code(2);
        assert!(refused.stderr.contains("set DATABASE_URL too, or unset WATCHKEEPER_URL"), "{refused:?}");
    }
    assert_eq!(database.count("services").await, 0);
}

#[tokio::test]
async fn nothing_is_sent_to_another_process_on_the_port_of_a_killed_stack() {
    let scratch = Scratch::new();
    let (mut stack, _database) = stack(&scratch).await;
    let place = stack.url().strip_prefix("http://").unwrap().to_owned();
    stack.kill().await;
    let other_process = TcpListener::bind(&place).await.unwrap();
    assert!(stack.file("env").exists(), "a killed stack leaves its env file");
    for arguments in [&["status"][..], &["ack", "INC-1"], &["check"], &["apps", "add", "shop"]] {
        let ended = stack.command(arguments).await.with_code(1);
        assert!(ended.stderr.starts_with("watchkeeper: no stack is running in "), "{arguments:?}: {ended:?}");
    }
    let connection = tokio::time::timeout(std::time::Duration::from_millis(200), other_process.accept()).await;
    assert!(connection.is_err(), "{connection:?}");
}

#[tokio::test]
async fn a_start_on_a_database_that_is_exported_names_it_before_it_is_migrated() {
    let scratch = Scratch::new();
    let (mut stack, database) = stack(&scratch).await;
    let url = database.url();
    let (_, place) = url.split_once('@').unwrap();
    let place = place.split('?').next().unwrap();
    assert_eq!(stack.stderr(), format!("watchkeeper: using the database of DATABASE_URL ({place})\n"));
    assert!(stack.stdout().contains(&format!("  database   {place} (")), "{}", stack.stdout());
    stack.stop().await;
}

#[tokio::test]
async fn an_address_left_over_from_an_earlier_start_gets_a_hint() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let ended = with(&stack, &[("WATCHKEEPER_URL", "http://127.0.0.1:1")], &["status"]).await.with_code(1);
    for expected in
        ["using the Watchkeeper at http://127.0.0.1:1 (WATCHKEEPER_URL)", &stack.url(), "unset WATCHKEEPER_URL"]
    {
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    }
}

#[tokio::test]
async fn a_token_is_not_sent_unencrypted_nor_to_a_redirect() {
    let (paths, to) = (Arc::<Mutex<Vec<String>>>::default(), "http://127.0.0.1:9/elsewhere");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::clone(&paths);
    let answer = move |request: Request| {
        received.lock().unwrap().push(request.uri().path().to_owned());
        async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]) }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let scratch = Scratch::new();
    let none = scratch.path().join("none");
    let token = "s3cret-token-of-elsewhere";
    let command = async |url: &str| {
        let mut command = watchkeeper(&["status", "--data-dir"]);
        run(command.arg(&none).env("WATCHKEEPER_URL", url).env("WATCHKEEPER_TOKEN", token)).await
    };
    let redirected = command(&url).await.with_code(1);
    assert!(redirected.stderr.contains("307") && redirected.stderr.contains(to), "{redirected:?}");
    assert_eq!(*paths.lock().unwrap(), ["/status"], "one request, and no redirect was followed");
    let refused = command("http://watchkeeper.example.com").await.with_code(2);
    assert!(refused.stderr.contains("https://") && !refused.said().contains(token), "{refused:?}");
}

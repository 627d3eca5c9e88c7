//! Tokens of a local stack, with and without configured keys.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::Database;
use nix::sys::stat::{Mode, umask};
use serde_json::json;
use tokio::process::Command;

use crate::process::{Ended, Stack, Start, clear, run, watchkeeper};
use harness::scratch::Scratch;

async fn start(scratch: &Scratch, database: &Database) -> Stack {
    Start::on(scratch).variable("DATABASE_URL", &database.url()).ready().await
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn the_first_start_makes_tokens_that_later_ones_keep() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    umask(Mode::empty());
    let mut stack = start(&scratch, &database).await;
    let tokens = ["READ_TOKEN", "ADMIN_TOKEN"].map(|name| stack.env(name));
    assert_ne!(tokens[0], tokens[1]);
    for (file, token) in ["read_token", "admin_token"].iter().zip(&tokens) {
        assert_eq!(&fs::read_to_string(stack.file(file)).unwrap(), token);
        assert!(token.len() >= 32, "{file}");
        assert_eq!(fs::metadata(stack.file(file)).unwrap().permissions().mode() & 0o7777, 0o600, "{file}");
    }
    let silences = || stack.client.get(format!("{}/api/silences", stack.url()));
    let reading = || stack.client.get(format!("{}/api/incidents", stack.url()));
    assert_eq!(status(reading()).await, 401);
    assert_eq!(status(reading().bearer_auth(&tokens[0])).await, 200);
    assert_eq!(status(silences()).await, 401);
    assert_eq!(status(silences().bearer_auth(&tokens[0])).await, 401, "reading is not changing");
    assert_eq!(status(silences().basic_auth("ann", Some(&tokens[1]))).await, 401, "a browser would remember it");
    assert_eq!(status(silences().bearer_auth(&tokens[1])).await, 200);
    stack.stop().await;
    let given =
        Start::on(&scratch).variable("DATABASE_URL", &database.url()).variable("READ_TOKEN", "given-by-the-person");
    let mut stack = given.ready().await;
    assert_eq!(["READ_TOKEN", "ADMIN_TOKEN"].map(|name| stack.env(name)), ["given-by-the-person", &tokens[1]]);
    stack.stop().await;
    let stack = start(&scratch, &database).await;
    assert_eq!(["READ_TOKEN", "ADMIN_TOKEN"].map(|name| stack.env(name)), tokens);
}

#[tokio::test]
async fn a_damaged_token_ends_the_start_with_its_file_s_name() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    start(&scratch, &database).await.stop().await;
    let file = scratch.path().join("data/admin_token");
    for text in ["", "short", "with a space in the middle"] {
        fs::write(&file, text).unwrap();
        let ended = Start::on(&scratch).variable("DATABASE_URL", &database.url()).run().await.with_code(1);
        assert!(ended.stderr.contains("admin_token") && ended.stderr.contains("remove it"), "{ended:?}");
        assert!(text.is_empty() || !ended.said().contains(text), "{ended:?}");
    }
}

#[tokio::test]
async fn short_tokens_are_refused_at_the_start_all_at_once() {
    let scratch = Scratch::new();
    let names = ["READ_TOKEN", "ADMIN_TOKEN", "INGEST_API_KEY", "SENTRY_LEGACY_SECRET"];
    let start = names.iter().fold(Start::on(&scratch), |start, name| start.variable(name, "changeme-please"));
    let ended = start.run().await.with_code(2);
    for name in names {
        assert!(ended.stderr.contains(name), "{ended:?}");
    }
    assert!(ended.stderr.contains("at least 16") && !ended.said().contains("changeme"), "{ended:?}");
}

/// Runs the example of the banner in a shell.
async fn tried(stack: &Stack) -> Ended {
    let said = stack.stdout();
    let line = said.lines().find_map(|line| line.trim_start().strip_prefix("try ")).unwrap().trim();
    let mut shell = Command::new("sh");
    run(clear(shell.args(["-c", &format!("cd / && {}", line.replacen("curl ", "curl -sS ", 1))]))).await
}

#[tokio::test]
async fn the_example_of_the_banner_works_with_and_without_a_key_and_shows_none() {
    const KEY: &str = "it's-a-$HOME-key";
    let scratch = Scratch::new();
    for key in ["", KEY] {
        let database = Database::migrated().await;
        let start = Start::at(&scratch, &scratch.path().join("it's data")).variable("DATABASE_URL", &database.url());
        let mut stack = start.variable("INGEST_API_KEY", key).ready().await;
        let ended = tried(&stack).await.with_code(0);
        assert_eq!(ended.json()["created"], true, "{ended:?}");
        assert!(!stack.stdout().contains(KEY), "{}", stack.stdout());
        stack.stop().await;
    }
}

#[tokio::test]
async fn the_tool_presents_the_tokens_of_the_stack_in_its_directory_and_only_to_that() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let start =
        Start::on(&scratch).variable("DATABASE_URL", &database.url()).variable("INGEST_API_KEY", "key-for-reports!");
    let stack = start.ready().await;
    for command in [&["send-test-error"][..], &["incidents"], &["silence", "list"]] {
        stack.command(command).await.with_code(0);
    }
    let elsewhere = wiremock::MockServer::start().await;
    let any = wiremock::ResponseTemplate::new(200).set_body_json(json!({"incidents": []}));
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(any).mount(&elsewhere).await;
    let with = async |variables: &[(&str, &str)]| {
        let mut command = watchkeeper(&["incidents", "--data-dir"]);
        run(command.arg(stack.file("")).env("WATCHKEEPER_URL", elsewhere.uri()).envs(variables.iter().copied())).await
    };
    with(&[]).await.with_code(0);
    with(&[("READ_TOKEN", "token-of-elsewhere")]).await.with_code(0);
    with(&[("READ_TOKEN", "token-of-elsewhere"), ("WATCHKEEPER_TOKEN", "the-other-one")]).await.with_code(0);
    let requests = elsewhere.received_requests().await.unwrap();
    let sent: Vec<_> =
        requests.iter().map(|it| it.headers.get("authorization").map(|it| it.to_str().unwrap())).collect();
    assert_eq!(sent, [None, Some("Bearer token-of-elsewhere"), Some("Bearer the-other-one")]);
}

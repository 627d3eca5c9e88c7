//! Where the stack keeps its data, and which database it uses.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use harness::Database;

use crate::process::{Start, clear, eventually, run, watchkeeper};
use harness::scratch::Scratch;

#[tokio::test]
async fn a_parent_closed_to_others_will_do() {
    let scratch = Scratch::new();
    let closed = scratch.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let data = closed.join("data");
    let mut stack = Start::at(&scratch, &data).ready().await;
    stack.report_message("kept").await;
    assert!(stack.file("postgres.pid").exists() && stack.file("env").exists(), "always in the data directory");
    let server = stack.server();
    stack.stop().await;
    assert!(server.processes().is_empty(), "{:?}", server.processes());
    let stack = Start::at(&scratch, &data).ready().await;
    assert_eq!(stack.occurrences_of("kept").await, 1);
    assert_eq!(fs::metadata(&closed).unwrap().permissions().mode() & 0o777, 0o700, "not opened for our sake");
}

#[tokio::test]
async fn a_long_path_will_do() {
    let scratch = Scratch::new();
    let mut data = scratch.path().to_owned();
    while data.as_os_str().len() < 250 {
        data.push("a folder with a long name");
    }
    let mut stack = Start::at(&scratch, &data).ready().await;
    stack.report_message("kept").await;
    let ended = stack.command(&["status"]).await.with_code(0);
    assert!(ended.stdout.contains("open incidents: 1 MEDIUM"), "{ended:?}");
    stack.stop().await;
    let stack = Start::at(&scratch, &data).ready().await;
    assert_eq!(stack.occurrences_of("kept").await, 1);
}

#[tokio::test]
async fn a_given_database_is_used_and_no_other_is_started() {
    let (scratch, database) = (Scratch::new(), Database::empty().await);
    let mut stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).ready().await;
    let migrations = format!("{} migrations applied", local::migrations::FILES.len());
    assert!(stack.stdout().contains(&migrations), "{}", stack.stdout());
    stack.report_message("into the given one").await;
    assert_eq!(database.count("incidents").await, 1);
    assert_eq!(stack.env("DATABASE_URL"), database.url());
    let running = scratch.processes();
    assert!(running.iter().all(|process| process.pid == stack.pid()), "{running:?}");
    assert!(!stack.file("postgres").exists() && !stack.file("postgres.pid").exists());
    let ended = stack.stop().await;
    assert!(ended.took.as_secs() < 3, "{:?}", ended.took);
    assert!(!stack.file("env").exists());
    assert_eq!(database.count("incidents").await, 1);
}

#[tokio::test]
async fn migrations_go_over_the_direct_connection_where_one_is_given() {
    let (scratch, database) = (Scratch::new(), Database::empty().await);
    // A transaction pooler, by its address: it can't run migrations.
    let pooler = format!("{}&pgbouncer=true", database.url());
    let refused = Start::on(&scratch).variable("DATABASE_URL", &pooler).run().await.with_code(1);
    assert!(refused.stderr.contains("DIRECT_URL"), "{refused:?}");
    let start = Start::on(&scratch).variable("DATABASE_URL", &pooler).variable("DIRECT_URL", &database.url());
    let stack = start.ready().await;
    stack.report_message("over the pooler").await;
    assert_eq!(database.count("incidents").await, 1);
}

#[tokio::test]
async fn the_data_directory_is_dot_local_of_the_current_one_by_default() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let mut command = watchkeeper(&["start", "--port", "0"]);
    command.env("DATABASE_URL", database.url()).current_dir(scratch.path());
    let mut stack = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let env = scratch.path().join(".local/env");
    eventually("the stack serves", std::time::Duration::from_secs(10), async || env.exists().then_some(())).await;
    run(watchkeeper(&["status"]).current_dir(scratch.path())).await.with_code(0);
    // As scripts do it.
    let mut script = tokio::process::Command::new("sh");
    script.args(["-ec", "set -a; . ./.local/env; cd /; exec \"$0\" status", crate::process::PROGRAM]);
    clear(script.current_dir(scratch.path()));
    run(&mut script).await.with_code(0);
    stack.kill().await.unwrap();
}

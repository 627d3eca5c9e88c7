//! Starts and stops within their time limits, also under load and in the middle of a start.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use harness::Database;
use nix::sys::signal::{Signal, killpg};
use serde_json::{Value, json};

use crate::process::{Stack, Start, eventually};
use harness::scratch::Scratch;

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(3);
/// How long a start may take on fresh data, and on data that is there.
const FIRST_START: Duration = Duration::from_secs(10);
const NEXT_START: Duration = Duration::from_secs(5);

/// Sends a signal by `send`, and checks that everything has ended in time.
async fn ends_with_everything(scratch: &Scratch, stack: &mut Stack, send: impl FnOnce(&Stack)) {
    let server = stack.server();
    assert!(!server.processes().is_empty());
    send(stack);
    let ended = stack.ended().await.with_code(0);
    eprintln!("stopped in {:?}", ended.took);
    assert!(ended.took < STOP, "{:?}", ended.took);
    assert!(server.processes().is_empty(), "{:?}", server.processes());
    assert!(scratch.processes().is_empty(), "{:?}", scratch.processes());
    assert!(!stack.file("env").exists(), "nothing is there any more");
    assert!(!stack.file("postgres.pid").exists(), "nothing is there any more");
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn sigterm_ends_everything_in_under_three_seconds() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).ready().await;
    ends_with_everything(&scratch, &mut stack, |stack| stack.signal(Signal::SIGTERM)).await;
}

#[tokio::test]
async fn ctrl_c_ends_everything_in_under_three_seconds() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).own_group().ready().await;
    // A terminal signals the whole process group.
    ends_with_everything(&scratch, &mut stack, |stack| killpg(stack.pid(), Signal::SIGINT).unwrap()).await;
}

#[tokio::test]
async fn the_end_of_its_terminal_ends_everything_in_under_three_seconds() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).own_group().ready().await;
    ends_with_everything(&scratch, &mut stack, |stack| killpg(stack.pid(), Signal::SIGHUP).unwrap()).await;
}

#[tokio::test]
async fn open_sessions_and_unanswered_requests_do_not_delay_a_stop() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).ready().await;
    let address = stack.url().strip_prefix("http://").unwrap().to_owned();
    let mut half = TcpStream::connect(&address).unwrap();
    half.write_all(b"POST /api/autonomous/error HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{").unwrap();
    let idle = TcpStream::connect(&address).unwrap();
    let psql = connect(&stack.env("DATABASE_URL")).await;
    psql.batch_execute("BEGIN; LOCK TABLE incidents").await.unwrap();
    let (client, url) = (stack.client.clone(), format!("{}/api/autonomous/error", stack.url()));
    let body = json!({"error": {"message": "waits for the lock"}});
    let waiting = tokio::spawn(async move { client.post(url).json(&body).send().await });
    let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    eventually("the request waits for the lock", Duration::from_secs(5), async || {
        let count: i64 = psql.query_one(query, &[]).await.unwrap().get(0);
        (count > 0).then_some(())
    })
    .await;
    ends_with_everything(&scratch, &mut stack, |stack| stack.signal(Signal::SIGTERM)).await;
    drop((half, idle));
    drop(waiting.await);
}

#[tokio::test]
async fn a_second_signal_while_stopping_changes_nothing() {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).ready().await;
    ends_with_everything(&scratch, &mut stack, |stack| {
        stack.signal(Signal::SIGINT);
        stack.signal(Signal::SIGINT);
        stack.signal(Signal::SIGTERM);
    })
    .await;
}

/// Stops a first start as soon as this file of its data directory is there.
async fn stopped_at(file: &str) {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).spawn();
    stack.until_there(file).await;
    let signalled = Instant::now();
    stack.signal(Signal::SIGTERM);
    let ended = stack.ended().await.with_code(0);
    assert!(ended.took < STOP, "{:?}", ended.took);
    let left = STOP.saturating_sub(signalled.elapsed());
    eventually("nothing runs any more", left, async || scratch.processes().is_empty().then_some(())).await;
    assert!(!stack.file("postgres.pid").exists(), "it names a process that has ended");
    assert!(!stack.file("env").exists());
    let mut again = Start::on(&scratch).ready().await;
    again.report_message("after all").await;
    again.stop().await;
}

#[tokio::test]
async fn a_stop_while_the_database_is_made_leaves_nothing_running() {
    stopped_at("postgres/data.new").await;
}

#[tokio::test]
async fn a_stop_while_the_database_starts_leaves_nothing_running() {
    stopped_at("postgres.pid").await;
}

#[tokio::test]
async fn a_stop_while_a_given_database_does_not_answer_takes_under_three_seconds() {
    let scratch = Scratch::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let url = format!("postgresql://u:p@{}/x?sslmode=disable", silent.local_addr().unwrap());
    let mut stack = Start::on(&scratch).variable("DATABASE_URL", &url).spawn();
    let connected = eventually("it connects", Duration::from_secs(10), async || silent.accept().ok()).await;
    let ended = stack.stop().await;
    assert!(ended.took < STOP, "{:?}", ended.took);
    drop(connected);
}

#[tokio::test]
async fn starts_take_a_bounded_time_and_the_second_finds_the_data_of_the_first() {
    let mut times = start_twice().await;
    // A machine that is busy with other tests is no slow start.
    for _ in 0..2 {
        if times.0 > FIRST_START || times.1 > NEXT_START {
            times = start_twice().await;
        }
    }
    assert!(times.0 < FIRST_START && times.1 < NEXT_START, "{times:?}");
}

/// Starts on fresh data, and again; how long each took until it served.
async fn start_twice() -> (Duration, Duration) {
    let scratch = Scratch::new();
    let mut stack = Start::on(&scratch).ready().await;
    let first = stack.began.elapsed();
    stack.report_message("Database connection failed").await;
    let database = stack.env("DATABASE_URL");
    stack.stop().await;

    let stack = Start::on(&scratch).ready().await;
    let second = stack.began.elapsed();
    eprintln!("serving {first:?} after the first start, {second:?} after the second");
    assert_eq!(stack.env("DATABASE_URL"), database, "the port and the password stay the same");
    assert_eq!(stack.occurrences_of("Database connection failed").await, 1);
    assert!(stack.stdout().contains("up to date"), "{}", stack.stdout());
    (first, second)
}

#[tokio::test]
async fn a_start_prints_a_short_readable_banner() {
    let (scratch, database) = (Scratch::new(), Database::empty().await);
    let mut stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).ready().await;
    let (url, password) = (stack.url(), stack.password());
    let said = stack.stop().await.stdout;
    assert!(said.lines().count() <= 12, "{said}");
    for needed in ["watchkeeper 0.1.0", &url, &scratch.path().display().to_string(), "migrations", "Ctrl-C", "stopping"]
    {
        assert!(said.contains(needed), "{needed:?} is missing: {said}");
    }
    assert!(!said.contains(&password), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
}

#[tokio::test]
async fn a_start_with_json_prints_json() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let mut stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).argument("--json").spawn();
    eventually("the stack serves", Duration::from_secs(20), async || stack.file("env").exists().then_some(())).await;
    let url = stack.url();
    let password = stack.password();
    let said = stack.stop().await.stdout;
    for line in said.lines() {
        let _: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    }
    assert!(said.contains(&url), "{said}");
    assert!(!said.contains(&password), "{said}");
}

#[tokio::test]
async fn every_function_is_served_on_the_one_port_of_the_loopback_interface() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).ready().await;
    for path in ["/health", "/ready", "/status", "/api/incidents"] {
        let (status, body) = stack.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    stack.report_message("hello").await;
    let (status, body) = stack.get("/no/such/path").await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")));
    assert!(stack.stdout().contains(&stack.url()), "{}", stack.stdout());
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

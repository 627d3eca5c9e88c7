//! A server that is killed is started again, at the same URL.

use std::time::{Duration, Instant};

use local::postgres::EmbeddedConfig;

use crate::server::{config, connect, count, execute, kill_dead, pid_file, start, stop, wait_answer, wait_new_process};
use harness::scratch::Scratch;

/// How long a server may be gone that had nothing to do.
const BACK: Duration = Duration::from_secs(2);

/// A backend deep in a computation, which does not notice that its postmaster is gone.
async fn busy_backend(url: &str) -> tokio::task::JoinHandle<()> {
    let busy = connect(url).await.unwrap();
    let pid: i32 = busy.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let busy = tokio::spawn(async move {
        let sum = "SELECT sum(a * b) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
        drop(busy.batch_execute(sum).await);
    });
    let watcher = connect(url).await.unwrap();
    let began = Instant::now();
    let computing =
        "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE 'SELECT sum%'";
    while watcher.query_one(computing, &[&pid]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "it does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    busy
}

#[tokio::test]
async fn a_killed_postmaster_comes_back_at_the_same_url() {
    let scratch = Scratch::new();
    let config = EmbeddedConfig { durable: true, ..config(&scratch, "data") };
    let server = start(&config).await;
    let url = server.url().to_owned();
    execute(&url, "CREATE TABLE kept ()").await;
    for round in 1..=2 {
        execute(&url, "INSERT INTO kept DEFAULT VALUES").await;
        let busy = busy_backend(&url).await;
        let (pid, began) = (server.pid(), Instant::now());
        kill_dead(pid);
        wait_new_process(&server, pid).await;
        wait_answer(&url, &config).await;
        eprintln!("back after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        assert_eq!(count(&url).await, round);
        assert_eq!(pid_file(&config), Some(server.pid()));
        busy.await.unwrap();
    }
    stop(server).await;
}

#[tokio::test]
async fn a_quiet_server_is_back_within_two_seconds() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let server = start(&config).await;
    let url = server.url().to_owned();
    let mut fastest = Duration::MAX;
    // A machine that is busy with other tests is no slow server.
    for _ in 0..3 {
        let idle = connect(&url).await.unwrap();
        let (pid, began) = (server.pid(), Instant::now());
        kill_dead(pid);
        wait_new_process(&server, pid).await;
        wait_answer(&url, &config).await;
        fastest = fastest.min(began.elapsed());
        assert!(idle.is_closed() || idle.batch_execute("SELECT 1").await.is_err());
        if fastest < BACK {
            break;
        }
    }
    eprintln!("back after {fastest:?}");
    assert!(fastest < BACK, "{fastest:?}");
    stop(server).await;
}

#[tokio::test]
async fn a_server_killed_again_and_again_comes_back() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let server = start(&config).await;
    // Not waiting until it answers: it is killed while it recovers.
    for _ in 0..4 {
        let pid = server.pid();
        kill_dead(pid);
        wait_new_process(&server, pid).await;
    }
    let again = wait_answer(server.url(), &config).await;
    eprintln!("answers {again:?} after the last new process");
    stop(server).await;
}

#[tokio::test]
async fn a_server_can_be_stopped_while_it_is_down() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    // Not synchronisation: the stop shall meet the dead server, the pause before its start, and the start.
    for milliseconds in [0, 50, 120, 160] {
        let server = start(&config).await;
        kill_dead(server.pid());
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let url = server.url().to_owned();
        stop(server).await;
        assert_eq!(pid_file(&config), None);
        assert!(connect(&url).await.is_err());
        assert!(scratch.processes().is_empty(), "{:?}", scratch.processes());
    }
}

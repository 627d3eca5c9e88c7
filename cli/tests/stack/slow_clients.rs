//! Clients that connect and send nothing more, on a stack with few file descriptors.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use harness::Database;
use local::server::raise_descriptor_limit;

use crate::process::{Stack, Start, eventually};
use harness::scratch::Scratch;

/// Connections that send this much of a request.
fn hang(stack: &Stack, count: usize, begun: &[u8]) -> Vec<TcpStream> {
    let address = stack.url().strip_prefix("http://").unwrap().to_owned();
    let connect = |_| {
        let mut stream = TcpStream::connect(&address).unwrap();
        // It may be closed already.
        let _ = stream.write_all(begun);
        stream
    };
    (0..count).map(connect).collect()
}

/// The first line of the answer of `/health`, on a connection of its own: an idle one may be closed to accept others.
fn health(stack: &Stack) -> String {
    let mut stream = hang(stack, 1, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").remove(0);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

fn log(stack: &Stack) -> String {
    let files = fs::read_dir(stack.file("logs")).unwrap();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn health_answers_with_256_descriptors_while_thousands_of_clients_hang() {
    assert!(raise_descriptor_limit() > 3_500, "this test needs as many file descriptors: `ulimit -Hn`");
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let start = Start::on(&scratch).descriptors(256).variable("DATABASE_URL", &database.url());
    let mut stack = start.ready().await;
    let body: &[u8] = b"POST /api/autonomous/error HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 99\r\n\r\n{";
    for (count, begun) in [(300, &b"GET /health HTTP/1.1\r\nX-a: "[..]), (300, body), (3_000, b"")] {
        let hanging = hang(&stack, count, begun);
        assert_eq!(health(&stack), "HTTP/1.1 200 OK", "{count}");
        drop(hanging);
    }
    assert!(!log(&stack).contains("no connection can be accepted"), "some descriptors were left");
    stack.stop().await;
}

#[tokio::test]
async fn exhausted_descriptors_are_logged_with_a_remedy_and_health_answers() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).ready().await;
    let open = fs::read_dir(format!("/proc/{}/fd", stack.pid())).unwrap().count();
    let limit = format!("--nofile={}:", open + 3);
    // Of util-linux.
    let limited = Command::new("prlimit").args(["--pid", &stack.pid().to_string(), &limit]).status().unwrap();
    assert!(limited.success());
    let hanging = hang(&stack, 50, b"GET / HT");
    let line = eventually("the log says so", Duration::from_secs(60), async || {
        let log = log(&stack);
        log.lines().find(|line| line.contains("no connection can be accepted")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("ulimit -n") && line.contains("\"ERROR\""), "{line}");
    assert_eq!(health(&stack), "HTTP/1.1 200 OK");
    drop(hanging);
}

//! What outlives a stop.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use local::postgres::EmbeddedConfig;

use crate::server::{config, connect, count, execute, home, pid_file, start, stop};
use harness::scratch::Scratch;

#[tokio::test]
async fn data_password_and_port_outlive_a_stop() {
    let scratch = Scratch::new();
    let config = EmbeddedConfig { durable: true, ..config(&scratch, "new/data") };
    let server = start(&config).await;
    let url = server.url().to_owned();
    execute(&url, "CREATE TABLE kept (); INSERT INTO kept DEFAULT VALUES").await;
    execute(&url, "CREATE EXTENSION vector").await;
    execute(&url, "CREATE DATABASE \"a b\"").await;
    execute(&server.url_for("a b"), "SELECT 1").await;
    assert_eq!(pid_file(&config), Some(server.pid()));
    stop(server).await;
    assert_eq!(pid_file(&config), None);
    assert!(connect(&url).await.is_err());

    let server = start(&config).await;
    assert_eq!(server.url(), url);
    assert_eq!(count(&url).await, 1);
    stop(server).await;
}

#[tokio::test]
async fn only_its_user_can_read_the_password_and_no_debug_output_shows_it() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let server = start(&config).await;
    let mode = |name: &str| fs::metadata(home(&config).join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("password"), mode("data")), (0o700, 0o600, 0o700));
    let password = fs::read_to_string(home(&config).join("password")).unwrap();
    assert!(server.url().contains(password.trim()));
    assert!(!format!("{server:?}").contains(password.trim()), "{server:?}");
    stop(server).await;
}

#[tokio::test]
async fn a_large_log_is_emptied_at_the_next_start() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    stop(start(&config).await).await;
    let log = home(&config).join("server.log");
    fs::write(&log, vec![b'\n'; 11 * 1024 * 1024]).unwrap();
    let server = start(&config).await;
    assert!(fs::metadata(&log).unwrap().len() < 10_000);
    stop(server).await;
}

#[tokio::test]
async fn a_taken_port_is_replaced() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let server = start(&config).await;
    let url = server.url().to_owned();
    stop(server).await;
    let port: u16 = fs::read_to_string(home(&config).join("port")).unwrap().trim().parse().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = start(&config).await;
    assert_ne!(server.url(), url);
    execute(server.url(), "SELECT 1").await;
    drop(taken);
    stop(server).await;
}

#[tokio::test]
async fn a_half_made_cluster_is_made_again_with_the_password_it_had() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    let home = home(&config);
    fs::create_dir_all(home.join("data.new/base")).unwrap();
    fs::create_dir_all(home.join("data/base")).unwrap();
    fs::write(home.join("password"), "known\n").unwrap();
    fs::write(home.join("data/PG_VERSION"), "18\n").unwrap();
    let server = start(&config).await;
    assert!(server.url().contains(":known@"));
    assert!(!home.join("data.new").exists());
    stop(server).await;
}

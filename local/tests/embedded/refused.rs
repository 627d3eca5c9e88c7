//! A start that can't be says why, and leaves things as they were.

use std::fs;
use std::path::PathBuf;

use local::postgres::EmbeddedConfig;

use crate::server::{config, home, pid_file, refusal, start, stop};
use harness::scratch::Scratch;

#[tokio::test]
async fn what_is_missing_is_said() {
    let scratch = Scratch::new();
    let config = EmbeddedConfig { install_dir: PathBuf::from("/no/such/place"), ..config(&scratch, "data") };
    let text = refusal(&config).await;
    for part in ["embedded Postgres is not installed in /no/such/place", "`make setup`", "set DATABASE_URL"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!scratch.path().join("data").exists());
}

#[tokio::test]
async fn data_of_another_version_is_left_alone() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    stop(start(&config).await).await;
    fs::write(home(&config).join("data/PG_VERSION"), "17\n").unwrap();
    let text = refusal(&config).await;
    assert!(text.contains("made by Postgres 17, which Postgres 18"), "{text}");
    assert_eq!(fs::read_to_string(home(&config).join("data/PG_VERSION")).unwrap(), "17\n");
}

#[tokio::test]
async fn data_without_its_password_is_left_alone() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    stop(start(&config).await).await;
    fs::remove_file(home(&config).join("password")).unwrap();
    let text = refusal(&config).await;
    assert!(text.contains("password is missing"), "{text}");
    assert!(home(&config).join("data/global/pg_control").exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_its_log() {
    let scratch = Scratch::new();
    let config = config(&scratch, "data");
    stop(start(&config).await).await;
    fs::write(home(&config).join("data/postgresql.conf"), "no_such_setting = 1\n").unwrap();
    let text = refusal(&config).await;
    assert!(text.contains("no_such_setting"), "{text}");
    assert_eq!(pid_file(&config), None);
    assert!(scratch.processes().is_empty(), "{:?}", scratch.processes());
}

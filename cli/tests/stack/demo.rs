//! `watchkeeper start --demo`.

use harness::Database;
use serde_json::Value;

use crate::process::Start;
use harness::scratch::Scratch;

#[tokio::test]
async fn the_demo_ends_by_itself_with_the_table_of_incidents_and_can_be_shown_again() {
    let scratch = Scratch::new();
    for round in 1..=2 {
        let ended = Start::on(&scratch).argument("--demo").run().await.with_code(0);
        eprintln!("round {round} took {:?}", ended.took);
        let header = ended.stdout.lines().find(|line| line.contains("INCIDENT") && line.contains("SEVERITY"));
        assert!(header.is_some(), "{}", ended.stdout);
        let mut rows = ended.stdout.lines().skip_while(|line| Some(*line) != header).skip(1);
        let outage = rows.find(|row| row.contains("INC-HEALTH-")).unwrap_or_else(|| panic!("{}", ended.stdout));
        assert!(outage.contains("Health check failed") && outage.contains("resolved"), "{outage}");
        assert!(ended.stdout.contains("Database connection fai"), "{}", ended.stdout);
        assert_eq!(ended.stderr, "");
        assert!(scratch.processes().is_empty(), "{:?}", scratch.processes());
        assert!(!scratch.path().join("data/env").exists() && !scratch.path().join("data/postgres.pid").exists());
    }
}

#[tokio::test]
async fn the_demo_as_json_prints_nothing_else() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let start = Start::on(&scratch).variable("DATABASE_URL", &database.url());
    // As `make demo ARGS="--data-dir …"` does: the last one of a repeated option wins.
    let other = scratch.path().join("other");
    let start = start.argument("--data-dir").argument(other.to_str().unwrap());
    let ended = start.argument("--demo").argument("--json").run().await.with_code(0);
    assert!(ended.stdout.contains("INC-HEALTH-"), "{ended:?}");
    assert!(other.join("logs").exists() && !scratch.path().join("data").exists());
    for line in ended.stdout.lines() {
        let _: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    }
}

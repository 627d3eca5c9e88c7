//! The minute's tick. The one test that waits for the wall clock.

use std::time::Duration;

use chrono::{Timelike as _, Utc};
use harness::{Behaviour, Database, Target};

use crate::process::{Start, eventually};
use harness::scratch::Scratch;

#[tokio::test]
async fn a_service_that_was_applied_is_checked_on_the_next_wall_clock_minute() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = Start::on(&scratch).variable("DATABASE_URL", &database.url()).ready().await;
    let file = scratch.path().join("services.toml");
    std::fs::write(&file, format!("[[services]]\nname = \"shop\"\nurl = \"{}\"\n", target.url())).unwrap();
    stack.command(&["apply", file.to_str().unwrap()]).await.with_code(0);
    assert_eq!(target.requests(), 0, "checked before its time");
    eventually("the tick checks it", Duration::from_secs(75), async || (target.requests() > 0).then_some(())).await;
    let second = Utc::now().second();
    eprintln!("checked {second} s after the minute");
    assert!(second < 5, "{second} s after the minute");
    let (state, checks) = eventually("the check is recorded", Duration::from_secs(5), async || {
        let (_, status) = stack.get("/status").await;
        let service = &status["environments"]["production"]["services"][0];
        let state = service["state"].as_str()?.to_owned();
        (state != "unknown").then_some((state, target.requests()))
    })
    .await;
    assert_eq!((state.as_str(), checks), ("healthy", 1));
}

//! `watchkeeper apps`: applications and their DSNs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::Database;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::dsn::{DsnSecret, KeyVersion, PublicKey};

use crate::commands::stack;
use crate::process::{Stack, Start, run, watchkeeper};
use harness::scratch::Scratch;

/// A DSN's key and number, if it is one of this stack.
fn read(stack: &Stack, dsn: &str) -> (String, i64) {
    let place = stack.url().strip_prefix("http://").unwrap().to_owned();
    let (key, rest) = dsn.strip_prefix("http://").unwrap().split_once('@').unwrap();
    let number = rest.strip_prefix(&format!("{place}/")).unwrap_or_else(|| panic!("{dsn} is not at {place}"));
    (key.to_owned(), number.parse().unwrap())
}

fn version(stack: &Stack, dsn: &str) -> Option<u16> {
    let secret = DsnSecret::new(SecretString::from(stack.env("DSN_SECRET"))).unwrap();
    let (key, number) = read(stack, dsn);
    PublicKey::verify(&key, &secret, number).map(|version| version.0)
}

async fn listed(stack: &Stack) -> Vec<Value> {
    let list = stack.command(&["apps", "list", "--json"]).await.with_code(0).json();
    list["applications"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_application_gets_a_dsn_and_the_same_again() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let ended = stack.command(&["apps", "list"]).await.with_code(0);
    assert!(ended.stdout.contains("watchkeeper apps add"), "{ended:?}");
    let first = stack.command(&["apps", "add", "shop"]).await.with_code(0);
    assert!(first.stdout.starts_with("shop added as application 1."), "{first:?}");
    let dsn = first.stdout.lines().last().unwrap();
    assert_eq!((read(&stack, dsn).1, version(&stack, dsn)), (1, Some(1)));
    let again = stack.command(&["apps", "add", "shop"]).await.with_code(0);
    assert!(again.stdout.contains("already exists") && again.stdout.lines().last() == Some(dsn), "{again:?}");
    let as_json = stack.command(&["apps", "add", "shop", "--json"]).await.with_code(0).json();
    let quotas = json!({"burst": 5000, "hour": 20000, "month": null});
    let expected = json!({
        "number": 1, "name": "shop", "environment": null, "dsn": dsn, "quotas": quotas, "max_severity": null,
        "allowed_origins": [], "new_incidents_per_hour": 100, "created": false
    });
    assert_eq!(as_json, expected);
}

#[tokio::test]
async fn quotas_are_set_when_they_are_named_and_stay_otherwise() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let add = ["apps", "add", "shop", "--json", "--environment", "test"];
    let first = stack.command(&[&add[..], &["--burst", "5", "--per-month", "100"]].concat()).await.with_code(0).json();
    assert_eq!(first["quotas"], json!({"burst": 5, "hour": 20000, "month": 100}));
    assert_eq!((&first["environment"], &first["created"]), (&json!("test"), &json!(true)));
    let second = stack.command(&[&add[..], &["--per-hour", "0"]].concat()).await.with_code(0).json();
    assert_eq!(second["quotas"], json!({"burst": 5, "hour": 0, "month": 100}));
    for named in [&["shop"][..], &["1"], &["shop", "--environment", "test"]] {
        let third = stack.command(&[&["apps", "add"], named, &["--burst", "7"]].concat()).await.with_code(0).stdout;
        let expected = "shop (test) already exists as application 1.\n\
            \x20 burst       at most 5 events in five minutes → at most 7 events in five minutes\n";
        assert!(third.starts_with(expected), "{third}");
        assert_eq!(third.lines().count(), 3, "{third}");
        let same = stack.command(&[&["apps", "add"], named, &["--burst", "7"]].concat()).await.with_code(0).stdout;
        assert_eq!(same.lines().count(), 2, "{same}");
        stack.command(&[&add[..], &["--burst", "5"]].concat()).await.with_code(0);
    }
}

#[tokio::test]
async fn the_list_shows_the_events_and_limits_of_each_application() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let page = ["page", "--browser", "--origin", "https://Shop.example.com/", "--origin", "*.example.org"];
    for arguments in [&["shop"][..], &["shop", "--environment", "test"], &page] {
        stack.command(&[&["apps", "add"], arguments].concat()).await.with_code(0);
    }
    database
        .execute(
            "INSERT INTO quota_counters (application, quota, window_start, accepted, refused)
            VALUES (1, 'month', date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', 1234, 56)",
        )
        .await;
    let list = listed(&stack).await;
    let names: Vec<_> = list.iter().map(|it| (it["name"].as_str().unwrap(), it["environment"].as_str())).collect();
    assert_eq!(names, [("page", None), ("shop", None), ("shop", Some("test"))]);
    assert_eq!((&list[0]["max_severity"], &list[0]["new_incidents_per_hour"]), (&json!("HIGH"), &json!(20)));
    assert_eq!(list[0]["allowed_origins"], json!(["https://shop.example.com", "*.example.org"]));
    assert_eq!(list[1]["this_month"], json!({"accepted": 1234, "refused": 56}));
    assert_eq!(list[2]["this_month"], json!({"accepted": 0, "refused": 0}));
    let text = stack.command(&["apps", "list"]).await.with_code(0).stdout;
    for expected in [
        "1 shop\n",
        "2 shop (test)\n",
        "1234 events, 56 refused",
        "burst       at most 5000 events in five minutes\n",
        "hour        at most 20000 events\n",
        "month       any number of events\n",
        "severity    at most HIGH\n",
        "new         at most 20 incidents an hour\n",
        "origins     https://shop.example.com\n              *.example.org\n",
        "origins     any\n",
        list[1]["dsn"].as_str().unwrap(),
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[tokio::test]
async fn recent_events_are_listed_at_once() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let added = stack.command(&["apps", "add", "shop", "--json"]).await.with_code(0).json();
    let dsn = added["dsn"].as_str().unwrap();
    let (key, number) = read(&stack, dsn);
    let url = format!("{}/api/{number}/store/?sentry_key={key}", stack.url());
    let answer = stack.client.post(url).body("{\"message\":\"boom\"}").send();
    assert_eq!(answer.await.unwrap().status().as_u16(), 200);
    database.wait_until("SELECT count(*) = 3 FROM quota_counters WHERE accepted = 1").await;
    assert_eq!(listed(&stack).await[0]["this_month"], json!({"accepted": 1, "refused": 0}));
}

#[tokio::test]
async fn a_name_that_one_application_has_means_that_one_whatever_its_environment() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let add = async |arguments: &[&str]| {
        stack.command(&[&["apps", "add", "--json"], arguments].concat()).await.with_code(0).json()
    };
    add(&["shop", "--environment", "production"]).await;
    let again = add(&["shop", "--burst", "7"]).await;
    assert_eq!((&again["number"], &again["created"], &again["quotas"]["burst"]), (&json!(1), &json!(false), &json!(7)));
    assert_eq!(again["environment"], "production");
    stack.command(&["apps", "rotate-key", "shop"]).await.with_code(0);
    let test = add(&["shop", "--environment", "test"]).await;
    assert_eq!((&test["number"], &test["created"]), (&json!(2), &json!(true)));
    let ended = stack.command(&["apps", "add", "shop"]).await.with_code(2);
    for expected in ["--environment", "1 shop (production)", "2 shop (test)"] {
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    }
    assert_eq!(add(&["1", "--burst", "8"]).await["quotas"]["burst"], 8);
    let ended = stack.command(&["apps", "add", "3"]).await.with_code(1);
    assert!(ended.stderr.contains("there is no application 3"), "{ended:?}");
    stack.command(&["apps", "add", "1", "--environment", "test"]).await.with_code(2);
    stack.command(&["apps", "remove", "2"]).await.with_code(0);
    assert_eq!(add(&["shop"]).await["number"], 1);
    assert_eq!(database.count("applications").await, 2);
}

#[tokio::test]
async fn concurrent_adds_of_the_same_application_are_idempotent() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let add = ["apps", "add", "shop", "--json"];
    let (one, two, three) = tokio::join!(stack.command(&add), stack.command(&add), stack.command(&add));
    for ended in [one, two, three] {
        assert_eq!(ended.with_code(0).json()["number"], 1);
    }
    assert_eq!(database.count("applications").await, 1);
}

#[tokio::test]
async fn limits_of_an_application_are_set_and_removed_by_option() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    for (arguments, severity, new, origins) in [
        (&["--browser"][..], json!("HIGH"), 20, json!([])),
        (&[], json!("HIGH"), 20, json!([])),
        (&["--max-severity", "medium", "--new-per-hour", "5"], json!("MEDIUM"), 5, json!([])),
        (&["--origin", "shop.example.com"], json!("MEDIUM"), 5, json!(["shop.example.com"])),
        (&["--browser", "--max-severity", "none", "--new-per-hour", "0"], json!(null), 0, json!(["shop.example.com"])),
        (&["--origin", "*"], json!(null), 0, json!([])),
    ] {
        let added = stack.command(&[&["apps", "add", "page", "--json"], arguments].concat()).await.with_code(0).json();
        let found = (&added["max_severity"], &added["new_incidents_per_hour"], &added["allowed_origins"]);
        assert_eq!(found, (&severity, &json!(new), &origins), "{arguments:?}");
    }
    for wrong in [
        ["--max-severity", "fatal"],
        ["--origin", "https://shop.example.com/cart"],
        ["--new-per-hour", "1001"],
        ["--new-per-hour", "-1"],
    ] {
        stack.command(&[&["apps", "add", "page"], &wrong[..]].concat()).await.with_code(2);
    }
}

#[tokio::test]
async fn rotating_gives_a_new_dsn_by_name_or_number() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    stack.command(&["apps", "add", "shop"]).await.with_code(0);
    for (name, expected) in [("shop", 2), ("1", 3)] {
        let ended = stack.command(&["apps", "rotate-key", name]).await.with_code(0);
        assert_eq!(version(&stack, ended.stdout.lines().last().unwrap()), Some(expected), "{ended:?}");
    }
    let rotated = stack.command(&["apps", "rotate-key", "shop", "--json"]).await.with_code(0).json();
    assert_eq!(version(&stack, rotated["dsn"].as_str().unwrap()), Some(4));
    assert_eq!(database.value::<i32>("SELECT key_version FROM applications").await, 4);
    database.execute("UPDATE applications SET key_version = 65535").await;
    let ended = stack.command(&["apps", "rotate-key", "shop"]).await.with_code(1);
    assert!(ended.stderr.contains("all its keys"), "{ended:?}");
}

#[tokio::test]
async fn removing_frees_the_name_and_never_the_number() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    stack.command(&["apps", "add", "shop"]).await.with_code(0);
    let removed = stack.command(&["apps", "remove", "shop", "--json"]).await.with_code(0).json();
    assert_eq!(removed, json!({"number": 1, "name": "shop", "environment": null, "removed": true}));
    assert!(listed(&stack).await.is_empty());
    for name in ["shop", "1", "2", "99999999999999999999"] {
        for command in ["remove", "rotate-key"] {
            let ended = stack.command(&["apps", command, name]).await.with_code(1);
            assert!(ended.stderr.contains(&format!("there is no application {name}")), "{ended:?}");
        }
    }
    let again = stack.command(&["apps", "add", "shop", "--json"]).await.with_code(0).json();
    assert_eq!((&again["number"], &again["created"]), (&json!(2), &json!(true)));
    let ended = stack.command(&["apps", "remove", "2"]).await.with_code(0);
    assert!(ended.stdout.contains("shop is removed"), "{ended:?}");
}

#[tokio::test]
async fn a_name_that_several_have_needs_its_environment() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    for environment in ["test", "production"] {
        stack.command(&["apps", "add", "shop", "--environment", environment]).await.with_code(0);
    }
    let ended = stack.command(&["apps", "remove", "shop"]).await.with_code(2);
    for expected in ["--environment", "1 shop (test)", "2 shop (production)"] {
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    }
    let ended = stack.command(&["apps", "remove", "shop", "--environment", "stage"]).await.with_code(1);
    assert!(ended.stderr.contains("environment stage"), "{ended:?}");
    stack.command(&["apps", "remove", "shop", "--environment", "test"]).await.with_code(0);
    stack.command(&["apps", "remove", "shop"]).await.with_code(0);
}

#[tokio::test]
async fn dsns_outlive_a_restart_and_their_secret_is_its_owner_s() {
    let scratch = Scratch::new();
    let database = Database::migrated().await;
    let start = || Start::on(&scratch).variable("DATABASE_URL", &database.url()).variable("RUST_LOG", "trace");
    let mut stack = start().ready().await;
    let first = stack.command(&["apps", "add", "shop", "--json"]).await.with_code(0).json();
    let secret = fs::read_to_string(stack.file("dsn_secret")).unwrap();
    assert_eq!(secret.len(), 64);
    assert_eq!(fs::metadata(stack.file("dsn_secret")).unwrap().permissions().mode() & 0o7777, 0o600);
    let ended = stack.stop().await;
    assert!(!ended.said().contains(&secret), "{ended:?}");
    for entry in fs::read_dir(stack.file("logs")).unwrap() {
        assert!(!fs::read_to_string(entry.unwrap().path()).unwrap().contains(&secret), "the log contains the secret");
    }
    let stack = start().ready().await;
    let second = stack.command(&["apps", "add", "shop", "--json"]).await.with_code(0).json();
    let key = |answer: &Value| answer["dsn"].as_str().unwrap().split_once('@').unwrap().0.to_owned();
    assert_eq!(key(&first), key(&second));
}

#[tokio::test]
async fn a_given_secret_is_used_and_leaves_no_file() {
    let scratch = Scratch::new();
    let database = Database::migrated().await;
    let given = "a secret from the environment";
    let start = Start::on(&scratch).variable("DATABASE_URL", &database.url()).variable("DSN_SECRET", given);
    let stack = start.ready().await;
    assert!(!stack.file("dsn_secret").exists());
    // A remote Watchkeeper, named by the environment: its database, its address, its secret.
    let mut command = watchkeeper(&["apps", "add", "shop", "--json", "--data-dir"]);
    command.arg(scratch.path().join("none")).env("DATABASE_URL", database.url()).env("DSN_SECRET", given);
    let added = run(command.env("WATCHKEEPER_URL", "https://watch.example.com/")).await.with_code(0).json();
    let secret = DsnSecret::new(SecretString::from(given)).unwrap();
    let key = PublicKey::of(&secret, 1, KeyVersion::FIRST);
    assert_eq!(added["dsn"], format!("https://{key}@watch.example.com/1"));
    assert_eq!(read(&stack, listed(&stack).await[0]["dsn"].as_str().unwrap()).0, key.as_str());
    let mut command = watchkeeper(&["apps", "list", "--data-dir"]);
    let ended = run(command.arg(scratch.path().join("none")).env("DSN_SECRET", "short")).await.with_code(2);
    assert!(ended.stderr.contains("DSN_SECRET") && !ended.stderr.contains("short:"), "{ended:?}");
}

#[tokio::test]
async fn a_damaged_secret_stops_the_start_instead_of_changing_every_dsn() {
    let scratch = Scratch::new();
    let database = Database::migrated().await;
    fs::create_dir(scratch.path().join("data")).unwrap();
    fs::write(scratch.path().join("data/dsn_secret"), "").unwrap();
    let ended = Start::on(&scratch).variable("DATABASE_URL", &database.url()).run().await.with_code(1);
    assert!(ended.stderr.contains("dsn_secret is damaged"), "{ended:?}");
}

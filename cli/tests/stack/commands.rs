//! The commands that end by themselves: what they print, as text and as JSON, and their exit codes.

use std::path::PathBuf;
use std::time::Duration;

use harness::{Behaviour, Database, Target};
use serde_json::json;

use crate::process::{Ended, Stack, Start, eventually, run, watchkeeper};
use harness::scratch::Scratch;

/// A stack on a database of its own.
pub(crate) async fn stack(scratch: &Scratch) -> (Stack, Database) {
    let database = Database::migrated().await;
    (Start::on(scratch).variable("DATABASE_URL", &database.url()).ready().await, database)
}

/// A file of services, given as TOML.
pub(crate) fn file(scratch: &Scratch, text: &str) -> PathBuf {
    let file = scratch.path().join("services.toml");
    std::fs::write(&file, text).unwrap();
    file
}

pub(crate) async fn apply(stack: &Stack, file: &std::path::Path) -> Ended {
    stack.command(&["apply", file.to_str().unwrap()]).await
}

#[tokio::test]
async fn without_a_stack_each_command_says_how_to_start_one() {
    let scratch = Scratch::new();
    let services = file(&scratch, "[[services]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\n");
    let apply = ["apply", services.to_str().unwrap()];
    let none = scratch.path().join("none");
    for command in [
        &["status"][..],
        &["incidents"],
        &["incident", "INC-1"],
        &["alerts"],
        &["check"],
        &["migrate"],
        &["send-test-error"],
        &apply,
        &["apps", "add", "shop"],
        &["apps", "list"],
        &["apps", "rotate-key", "shop"],
        &["apps", "remove", "shop"],
        &["ack", "INC-1"],
        &["resolve", "INC-1"],
        &["silence", "list"],
        &["silence", "add", "--for", "2h", "--comment", "x", "--all"],
        &["notifications"],
        &["notifications", "replay", "01a20b57-6a6c-7d08-95eb-4b2cb135a33c"],
    ] {
        for json in [false, true] {
            let mut command = watchkeeper(command);
            command.arg("--data-dir").arg(&none).args(json.then_some("--json"));
            let ended = run(&mut command).await.with_code(1);
            assert_eq!(ended.stdout, "");
            assert!(ended.stderr.contains("run `watchkeeper start`"), "{ended:?}");
            assert!(ended.stderr.contains(&none.display().to_string()), "{ended:?}");
        }
    }
    assert!(!none.exists(), "asking makes no directory");
}

#[tokio::test]
async fn without_a_running_stack_the_error_names_the_directory() {
    let scratch = Scratch::new();
    let (mut stack, _database) = stack(&scratch).await;
    stack.kill().await;
    for command in ["status", "incidents", "send-test-error"] {
        let ended = stack.command(&[command]).await.with_code(1);
        let expected = format!("no stack is running in {}", stack.file("").display().to_string().trim_end_matches('/'));
        assert!(ended.stderr.contains(&expected) && ended.stderr.lines().count() == 1, "{ended:?}");
    }
}

#[tokio::test]
async fn wrong_use_ends_with_exit_code_2() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["status", "--nonsense"],
        &["start", "--port", "many"],
        &["apply"],
        &["apply", "/no/such/file.toml"],
        &["check", "superfluous"],
        &["incidents", "--limit", "0"],
        &["incidents", "--limit", "201"],
        &["incidents", "--limit", "few"],
        &["status", "--data-dir"],
        &["apps"],
        &["apps", "add"],
        &["apps", "add", " "],
        &["apps", "add", "shop", "--environment", "a\nb"],
        &["apps", "add", "shop", "--burst", "-1"],
        &["apps", "add", "shop", "--per-month", "many"],
        &["apps", "remove"],
        &["incident"],
        &["incident", "01a20b57-6a6c-7d08-95eb-4b2cb135a33c"],
        &["alerts", "--status", "open"],
    ] {
        let ended = run(&mut watchkeeper(arguments)).await.with_code(2);
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn help_and_version_are_no_misuse() {
    let help = run(&mut watchkeeper(&["--help"])).await.with_code(0);
    for command in [
        "start",
        "migrate",
        "apply",
        "apps",
        "check",
        "status",
        "incidents",
        "incident",
        "alerts",
        "ack",
        "resolve",
        "silence",
        "notifications",
        "send-test-error",
        "--json",
        "--data-dir",
    ] {
        assert!(help.stdout.contains(command), "{command}: {help:?}");
        if !command.starts_with("--") {
            let help = run(&mut watchkeeper(&[command, "--help"])).await.with_code(0);
            assert!(help.stdout.contains("--json") && help.stdout.contains("--data-dir"), "{help:?}");
        }
    }
    let version = run(&mut watchkeeper(&["--version"])).await.with_code(0);
    assert_eq!(version.stdout, format!("watchkeeper {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn global_options_may_precede_or_follow_the_command() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let data = stack.file("");
    let before = run(watchkeeper(&["--json", "--data-dir"]).arg(&data).arg("migrate")).await.with_code(0);
    let after = run(watchkeeper(&["migrate", "--json", "--data-dir"]).arg(&data)).await.with_code(0);
    assert_eq!(
        (before.json(), after.json()),
        (json!({"applied": [], "left_to_run": []}), json!({"applied": [], "left_to_run": []}))
    );
}

#[tokio::test]
async fn migrate_applies_everything_once() {
    let (scratch, database) = (Scratch::new(), Database::empty().await);
    let mut command = watchkeeper(&["migrate", "--data-dir"]);
    command.arg(scratch.path()).env("DATABASE_URL", database.url());
    let first = run(&mut command).await.with_code(0);
    let applied: Vec<&str> = first.stdout.lines().collect();
    assert_eq!(applied.len(), local::migrations::FILES.len(), "{first:?}");
    for (line, (name, _)) in applied.iter().zip(local::migrations::FILES) {
        assert_eq!(*line, format!("applied {name}"));
    }
    let second = run(&mut command).await.with_code(0);
    assert_eq!(second.stdout, "The schema is up to date.\n");
    assert_eq!(run(command.arg("--json")).await.with_code(0).json(), json!({"applied": [], "left_to_run": []}));
    assert_eq!(database.count("incidents").await, 0);
}

#[tokio::test]
async fn migrate_as_json_lists_what_it_applied() {
    let (scratch, database) = (Scratch::new(), Database::empty().await);
    let mut command = watchkeeper(&["migrate", "--json", "--data-dir"]);
    let ended = run(command.arg(scratch.path()).env("DIRECT_URL", database.url())).await.with_code(0);
    let applied: Vec<&str> = local::migrations::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(ended.json(), json!({"applied": applied, "left_to_run": []}));
}

#[tokio::test]
async fn migrate_says_what_is_left_for_a_person_to_run() {
    let (scratch, database) = (Scratch::new(), Database::migrated().await);
    database.execute("GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    let mut command = watchkeeper(&["migrate", "--data-dir"]);
    let ended = run(command.arg(scratch.path()).env("DIRECT_URL", database.url())).await.with_code(0);
    let wanted = "Left for you to run:\n  REVOKE CREATE ON SCHEMA public FROM PUBLIC;";
    assert!(ended.stdout.contains(wanted), "{}", ended.stdout);
}

#[tokio::test]
async fn an_unavailable_database_is_an_error_that_does_not_contain_the_password() {
    let scratch = Scratch::new();
    let services = file(&scratch, "[[services]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\n");
    for command in [&["migrate"][..], &["check"], &["apply", services.to_str().unwrap()]] {
        let mut command = watchkeeper(command);
        command.env("DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/x?sslmode=disable");
        let ended = run(command.arg("--data-dir").arg(scratch.path())).await.with_code(1);
        assert!(!ended.said().contains("s3cret") && ended.stderr.lines().count() == 2, "{ended:?}");
        let first = "watchkeeper: using the database of DATABASE_URL (127.0.0.1:1/x)\n";
        assert!(ended.stderr.starts_with(first), "{ended:?}");
        assert!(ended.took.as_secs() < 6, "{ended:?}");
    }
}

#[tokio::test]
async fn check_is_unhealthy_while_a_service_fails_and_healthy_after() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let ended = stack.command(&["check"]).await.with_code(0);
    assert!(ended.stdout.contains("watchkeeper apply"), "{ended:?}");
    let target = Target::start(Behaviour::Status(500)).await;
    let services = file(&scratch, &format!("[[services]]\nname = \"shop\"\nurl = \"{}\"\n", target.url()));
    apply(&stack, &services).await.with_code(0);

    let ended = stack.command(&["check"]).await.with_code(1);
    for expected in ["SERVICE", "shop", "production", "down", "status: ", "INC-HEALTH-"] {
        assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
    }
    assert!(!ended.stdout.contains('…'), "in a pipe nothing is cut: {ended:?}");
    assert_eq!(ended.stderr, "", "a failing service is no failure of ours");
    let checked = stack.command(&["check", "--json"]).await.with_code(1).json()["checked"][0].clone();
    assert_eq!((&checked["service"], &checked["environment"]), (&json!("shop"), &json!("production")));
    assert_eq!((&checked["passed"], &checked["state"]), (&json!(false), &json!("down")));
    assert_eq!((&checked["http_status"], &checked["kind"]), (&json!(500), &json!("http")));
    assert_eq!((&checked["verdict"], &checked["reason"]), (&json!("failed"), &json!("status")));
    assert!(checked["incident_id"].as_str().unwrap().starts_with("INC-HEALTH-"), "{checked}");

    target.behave(Behaviour::Status(200));
    let ended = stack.command(&["check"]).await.with_code(1);
    assert!(ended.stdout.contains(" down "), "it takes two good checks to end the outage: {ended:?}");
    let ended = stack.command(&["check", "--json"]).await.with_code(0).json();
    assert_eq!((&ended["checked"][0]["state"], &ended["stopped_by"]), (&json!("healthy"), &json!(null)));
}

#[tokio::test]
async fn check_waits_for_the_claims_of_another_round_and_shows_its_results() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let target = Target::start(Behaviour::Slow(Duration::from_secs(2))).await;
    let services = file(&scratch, &format!("[[services]]\nname = \"shop\"\nurl = \"{}\"\n", target.url()));
    apply(&stack, &services).await.with_code(0);
    let under_way = tokio::spawn({
        let data = stack.file("");
        async move { run(watchkeeper(&["check", "--data-dir"]).arg(data)).await }
    });
    eventually("the first round asks", Duration::from_secs(20), async || (target.requests() > 0).then_some(())).await;
    let second = stack.command(&["check", "--json"]).await.with_code(0).json();
    assert_eq!((&second["checked"][0]["service"], &second["checked"][0]["state"]), (&json!("shop"), &json!("healthy")));
    under_way.await.unwrap().with_code(0);
}

#[tokio::test]
async fn status_is_unhealthy_while_a_service_is_down() {
    let scratch = Scratch::new();
    let (stack, _database) = stack(&scratch).await;
    let ended = stack.command(&["status"]).await.with_code(0);
    assert!(ended.stdout.starts_with("unknown") && ended.stdout.contains("open incidents: none"), "{ended:?}");
    let target = Target::start(Behaviour::Status(503)).await;
    let services = file(&scratch, &format!("[[services]]\nname = \"shop\"\nurl = \"{}\"\n", target.url()));
    apply(&stack, &services).await.with_code(0);
    stack.command(&["check"]).await.with_code(1);
    let ended = stack.command(&["status"]).await.with_code(1);
    for expected in ["down (score 0)", "1 CRITICAL", "shop", "production", "status: ", "0.00 %"] {
        assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
    }
    let status = stack.command(&["status", "--json"]).await.with_code(1).json();
    assert_eq!((&status["status"], &status["score"]), (&json!("down"), &json!(0.0)));
    assert_eq!(status["open_incidents"], json!({"CRITICAL": 1}));
    target.behave(Behaviour::Status(200));
    for code in [1, 0] {
        stack.command(&["check"]).await.with_code(code);
    }
    let ended = stack.command(&["status"]).await.with_code(0);
    assert!(ended.stdout.starts_with("healthy (score 100)"), "{ended:?}");
}

#[tokio::test]
async fn check_names_the_switch_that_stops_it() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let target = Target::start(Behaviour::Status(200)).await;
    let services = file(&scratch, &format!("[[services]]\nname = \"shop\"\nurl = \"{}\"\n", target.url()));
    apply(&stack, &services).await.with_code(0);
    let on = r#"UPDATE system_config SET value = '{"enabled": true}' WHERE key = 'agent_kill_switch'"#;
    database.execute(on).await;
    let ended = stack.command(&["check"]).await.with_code(0);
    assert!(
        ended.stdout.starts_with("Nothing was checked: ") && ended.stdout.contains("agent_kill_switch"),
        "{ended:?}"
    );
    assert_eq!(stack.command(&["check", "--json"]).await.json()["stopped_by"], "agent_kill_switch");
    assert_eq!(target.requests(), 0);
}

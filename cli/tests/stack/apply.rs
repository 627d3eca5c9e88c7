//! `watchkeeper apply`: what it prints, changes and refuses.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use harness::{Behaviour, Database, Target};
use serde_json::{Value, json};
use shared::dsn::DsnSecret;
use shared::heartbeat::HeartbeatToken;
use tokio::net::TcpListener;

use crate::commands::{apply, file, stack};
use crate::process::{Ended, Stack, eventually, run, watchkeeper};
use harness::scratch::Scratch;

const TWO: &str = "[[services]]\nname = \"a\"\nurl = \"http://127.0.0.1:1/\"\n\n\
    [[services]]\nname = \"b\"\nenvironment = \"test\"\nurl = \"http://127.0.0.1:1/\"\n";

async fn apply_with(stack: &Stack, options: &[&str], file: &Path) -> Ended {
    let mut arguments = vec!["apply"];
    arguments.extend(options);
    arguments.push(file.to_str().unwrap());
    stack.command(&arguments).await
}

/// All rows of services as text; differs after any change.
async fn stored(database: &Database) -> String {
    database.value("SELECT coalesce(string_agg(services::text, E'\\n' ORDER BY name), '') FROM services").await
}

#[tokio::test]
async fn the_changes_are_shown_and_made_and_the_same_file_again_changes_nothing() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let services = file(&scratch, TWO);
    let first = apply(&stack, &services).await.with_code(0);
    let lines: Vec<&str> = first.stdout.lines().collect();
    assert_eq!(lines[..2], ["+ a (production)  http http://127.0.0.1:1/", "+ b (test)  http http://127.0.0.1:1/"]);
    assert!(lines[2].ends_with("services.toml: 2 added.") && lines.len() == 3, "{first:?}");
    let before = stored(&database).await;
    let second = apply(&stack, &services).await.with_code(0);
    assert!(second.stdout.ends_with("services.toml: 2 unchanged.\n"), "{second:?}");
    assert_eq!(stored(&database).await, before);
    let changed = "name = \"b\"\nexpected_status = 204\nheaders = { apikey = \"${PROBE_SECRET_B}\" }";
    file(&scratch, &TWO.replace("name = \"b\"", changed));
    let third = apply_with(&stack, &["--json"], &services).await.with_code(0).json();
    let settings = json!([
        {"setting": "expected_statuses", "old": "200", "new": "204"},
        {"setting": "headers.apikey", "old": null, "new": "${PROBE_SECRET_B}"},
    ]);
    assert_eq!(third["changed"], json!([{"service": "b", "environment": "test", "settings": settings}]));
    assert_eq!((&third["unchanged"], &third["dry_run"]), (&json!(1), &json!(false)));
    assert_eq!(database.count("services").await, 2);
}

#[tokio::test]
async fn a_dry_run_shows_the_same_and_changes_nothing() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let services = file(&scratch, TWO);
    let dry = apply_with(&stack, &["--dry-run"], &services).await.with_code(0);
    assert!(dry.stdout.contains("+ a (production)") && dry.stdout.contains("Nothing was changed"), "{dry:?}");
    assert_eq!(database.count("services").await, 0);
    apply(&stack, &services).await.with_code(0);
    let before = stored(&database).await;
    file(&scratch, "[[services]]\nname = \"a\"\nurl = \"http://127.0.0.1:2/\"\n");
    let dry = apply_with(&stack, &["--dry-run", "--prune"], &services).await.with_code(0);
    for expected in ["    target: http://127.0.0.1:1/ → http://127.0.0.1:2/", "- b (test)", "1 changed, 1 removed"] {
        assert!(dry.stdout.contains(expected), "{expected}: {dry:?}");
    }
    assert_eq!(stored(&database).await, before);
}

#[tokio::test]
async fn a_service_that_is_no_longer_in_a_file_stays_until_it_is_pruned_and_then_its_incident_is_resolved() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let target = Target::start(Behaviour::Status(500)).await;
    let services = file(&scratch, &TWO.replace("http://127.0.0.1:1/", &target.url()));
    apply(&stack, &services).await.with_code(0);
    // One from the environment, which no file ever removes.
    let sql = "INSERT INTO services (name, environment, application, target, origin)
        VALUES ('backend', 'production', 'shop', 'http://127.0.0.1:1/', 'environment')";
    database.execute(sql).await;
    stack.command(&["check"]).await.with_code(1);
    assert_eq!(database.count("incidents WHERE status = 'detected'").await, 3);
    file(&scratch, &format!("[[services]]\nname = \"a\"\nurl = \"{}\"\n", target.url()));
    let kept = apply(&stack, &services).await.with_code(0);
    assert!(kept.stdout.contains("Not in this file, and kept (--prune removes them): b (test)"), "{kept:?}");
    assert_eq!(database.count("services").await, 3);
    let pruned = apply_with(&stack, &["--prune", "--yes"], &services).await.with_code(0);
    assert!(pruned.stdout.contains("- b (test)") && pruned.stdout.contains("1 removed, 1 unchanged"), "{pruned:?}");
    let left: String = database.value("SELECT string_agg(name, ',' ORDER BY name) FROM services").await;
    assert_eq!(left, "a,backend");
    let status: String = database.value("SELECT status FROM incidents WHERE fingerprint = 'health:b'").await;
    assert_eq!(status, "resolved");
    assert_eq!(database.count("alert_events WHERE service_name = 'b' AND status <> 'resolved'").await, 0);
    assert_eq!(database.count("incidents WHERE status = 'detected'").await, 2, "the others go on");
    let audited = "agent_actions WHERE action_type = 'service_removed' AND incident_id IS NOT NULL";
    assert_eq!(database.count(audited).await, 1);
    assert_eq!(database.count("service_claims").await, 2);
    let again = apply_with(&stack, &["--prune", "--yes"], &services).await.with_code(0);
    assert!(again.stdout.ends_with(": 1 unchanged.\n"), "{again:?}");
}

#[tokio::test]
async fn a_changed_service_keeps_its_state() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let target = Target::start(Behaviour::Status(500)).await;
    let text = format!("[[services]]\nname = \"a\"\nurl = \"{}\"\n", target.url());
    let services = file(&scratch, &text);
    apply(&stack, &services).await.with_code(0);
    stack.command(&["check"]).await.with_code(1);
    let known =
        "SELECT state || ' ' || failing_since || ' ' || down_alerted_at || ' ' || consecutive_failures FROM services";
    let (before, revision) =
        (database.value::<String>(known).await, database.value::<i64>("SELECT revision FROM services").await);
    file(&scratch, &format!("{text}timeout = \"2s\"\ntags = [\"external\"]\n"));
    apply(&stack, &services).await.with_code(0);
    assert_eq!(database.value::<String>(known).await, before);
    assert_eq!(database.value::<i64>("SELECT revision FROM services").await, revision + 1);
    file(&scratch, &format!("{text}enabled = false\n"));
    apply(&stack, &services).await.with_code(0);
    assert_eq!(database.count("incidents WHERE status <> 'resolved'").await, 0);
    assert_eq!(database.value::<String>("SELECT state FROM services").await, "unknown");
}

#[tokio::test]
async fn a_heartbeat_s_address_is_printed_and_accepts_beats() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let services =
        file(&scratch, "[[services]]\nname = \"nightly\"\nkind = \"heartbeat\"\ninterval = \"1h\"\ngrace = \"5m\"\n");
    let applied = apply(&stack, &services).await.with_code(0);
    let again = apply_with(&stack, &["--json"], &services).await.with_code(0).json();
    assert_eq!(again["unchanged"], 1);
    let url = again["heartbeats"][0]["url"].as_str().unwrap();
    assert!(applied.stdout.contains(&format!("curl --retry 5 --retry-all-errors -fsS -X POST {url}")), "{applied:?}");
    assert!(url.starts_with(&stack.url()), "{url}");
    let answer = stack.client.post(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(database.count("service_heartbeats WHERE beat_at IS NOT NULL AND NOT failed").await, 1);
}

#[tokio::test]
async fn a_heartbeat_s_token_is_rotated_by_its_version_and_one_of_the_first_format_is_valid_until_then() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let entry = |rest: &str| {
        format!("[[services]]\nname = \"a/b\"\nenvironment = \"c\"\nkind = \"heartbeat\"\ninterval = \"1h\"\n{rest}")
    };
    let url = async |text: &str| {
        let applied = apply_with(&stack, &["--json"], &file(&scratch, text)).await.with_code(0).json();
        applied["heartbeats"][0]["url"].as_str().unwrap().to_owned()
    };
    let beat = async |url: &str| stack.client.post(url).send().await.unwrap().status().as_u16();
    let first = url(&entry("")).await;
    assert_eq!((url(&entry("token_version = 1\n")).await, beat(&first).await), (first.clone(), 200));
    let second = url(&entry("token_version = 2\n")).await;
    assert_eq!((beat(&first).await, beat(&second).await), (404, 200));
    assert_eq!(url(&entry("token_version = 2\n")).await, second);
    let refused = apply(&stack, &file(&scratch, &entry("token_version = 0\n"))).await.with_code(2);
    assert!(refused.stderr.contains("token_version: must be a whole number from 1"), "{refused:?}");
    // A token of an earlier version stays valid: jobs use it.
    let secret = std::fs::read_to_string(scratch.path().join("data/dsn_secret")).unwrap();
    let former = HeartbeatToken::former(&DsnSecret::new(secret.trim().into()).unwrap(), "a/b", "c");
    let hash = former.hash();
    database.execute(&format!("UPDATE service_heartbeats SET token_hash = '{hash}'")).await;
    let kept = url(&entry("")).await;
    assert!(kept == former.url(&stack.url()) && beat(&kept).await == 200, "{kept}");
    assert_eq!(database.count(&format!("service_heartbeats WHERE token_hash = '{hash}'")).await, 1);
    assert_eq!(url(&entry("token_version = 2\n")).await, second);
    assert_eq!(beat(&kept).await, 404);
}

/// Answers like a project of Supabase, with its public key.
async fn supabase() -> String {
    let asked = |request: Request| async move {
        let has_key = request.headers().get("apikey").is_some_and(|key| key == "the-key");
        let status = match (request.method().as_str(), request.uri().path(), has_key) {
            (_, _, false) => 401,
            ("GET", "/auth/v1/health" | "/storage/v1/status", _) => 200,
            // PostgREST's answer for a table that does not exist.
            ("GET", "/rest/v1/watchkeeper", _) => 404,
            ("OPTIONS", "/functions/v1/pay", _) => 204,
            _ => 500,
        };
        StatusCode::from_u16(status).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(asked)).await.unwrap() });
    url
}

#[tokio::test]
async fn each_part_of_a_supabase_project_is_checked_with_its_key() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let text = format!(
        "[[services]]\nname = \"shop\"\nkind = \"supabase\"\nproject = \"{}\"\n\
         anon_key = \"${{PROBE_SECRET_ANON}}\"\nfunctions = [\"pay\", \"absent\"]\n",
        supabase().await
    );
    apply(&stack, &file(&scratch, &text)).await.with_code(0);
    let checked = eventually("no tick has them just now", Duration::from_secs(30), async || {
        let mut check = watchkeeper(&["check", "--json"]);
        check.env("DATABASE_URL", database.url()).env("PROBE_SECRET_ANON", "the-key");
        let checked = run(&mut check).await.json()["checked"].clone();
        checked.as_array().is_some_and(|checked| !checked.is_empty()).then_some(checked)
    })
    .await;
    let passed: Vec<(&str, bool)> = checked
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["service"].as_str().unwrap(), it["passed"].as_bool().unwrap()))
        .collect();
    let expected = [
        ("shop (auth)", true),
        ("shop (functions/absent)", false),
        ("shop (functions/pay)", true),
        ("shop (rest)", true),
        ("shop (storage)", true),
    ];
    assert_eq!(passed, expected, "{checked}");
    let kept: i64 = database.count("services WHERE services::text LIKE '%the-key%'").await;
    assert_eq!(kept, 0, "a secret is not stored");
}

#[tokio::test]
async fn an_invalid_file_is_refused_as_a_whole_with_each_line() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let good = "[[services]]\nname = \"good\"\nurl = \"http://127.0.0.1:1/\"\n";
    for (bad, expected) in [
        ("[[services]]\nname = \"bad\"\nurl = \"ftp://x/\"\n", &["line 6: url"][..]),
        (
            "[[services]]\nname = \"bad\"\nurl = \"http://x/\"\ntimeuot = 3\nquorum = 0\n",
            &["line 7: \"timeuot\"", "\"timeout\"?", "line 8: quorum"],
        ),
        ("[[services]]\nname = \"bad\"\n", &["line 4"]),
        ("[[services]]\nname = \"bad\"\nurl = \"http://x/\"\nparents = [\"godo\"]\n", &["line 7", "\"good\"?"]),
        ("[[services\n", &["line 4"]),
        (good, &["line 4"]),
    ] {
        let services = file(&scratch, &format!("{good}{bad}"));
        let ended = apply(&stack, &services).await.with_code(2);
        for expected in expected {
            assert!(ended.stderr.contains(expected), "{expected} is missing: {}", ended.stderr);
        }
        assert!(ended.stderr.contains("services.toml is refused, nothing was changed"), "{ended:?}");
        assert_eq!((ended.stdout.as_str(), database.count("services").await), ("", 0));
    }
}

#[tokio::test]
async fn a_parent_may_be_stored_already_unless_it_is_pruned_now() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    apply(&stack, &file(&scratch, TWO)).await.with_code(0);
    let child = "[[services]]\nname = \"child\"\nurl = \"http://127.0.0.1:1/\"\nparents = [\"a\"]\n";
    let services = file(&scratch, child);
    let refused = apply_with(&stack, &["--prune", "--yes"], &services).await.with_code(2);
    assert!(refused.stderr.contains("line 4: parents: there is no service \"a\""), "{refused:?}");
    assert_eq!(database.count("services").await, 2);
    apply(&stack, &services).await.with_code(0);
    let parents: Value = database.value("SELECT policy -> 'parents' FROM services WHERE name = 'child'").await;
    assert_eq!(parents, json!(["a"]));
}

const ROUTES: &str = "[[routes]]\nname = \"night\"\nchannels = [\"pagerduty\"]\nescalation = \"all\"\n\
    match = { severity = [\"CRITICAL\"] }\n\
    [[routes]]\nname = \"rest\"\nchannels = [\"slack:#ops\"]\n\
    [[escalations]]\nname = \"all\"\n[[escalations.steps]]\nafter = \"10m\"\nchannels = [\"sms\"]\n";

/// The stored routing; null if there is none.
async fn routing(database: &Database) -> Value {
    database
        .value("SELECT coalesce((SELECT value FROM system_config WHERE key = 'notification_routing'), 'null')")
        .await
}

#[tokio::test]
async fn routes_are_shown_and_stored_with_the_services() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let both = file(&scratch, &format!("{ROUTES}{TWO}"));
    let dry = apply_with(&stack, &["--dry-run"], &both).await.with_code(0);
    for expected in
        ["+ route night", "+ route rest", "+ escalation all", "2 added; routes: 2 added; escalations: 1 added"]
    {
        assert!(dry.stdout.contains(expected), "{expected}: {dry:?}");
    }
    assert_eq!(routing(&database).await, Value::Null);
    apply(&stack, &both).await.with_code(0);
    let stored = routing(&database).await;
    assert_eq!(stored["routes"][0]["match"]["severity"], json!(["CRITICAL"]));
    assert_eq!(stored["escalations"][0]["steps"], json!([{"after_seconds": 600, "channels": ["sms"]}]));
    assert_eq!(database.count("services").await, 2);
    let again = apply_with(&stack, &["--json"], &both).await.with_code(0).json();
    assert_eq!((&again["unchanged"], &again["routes"]["unchanged"]), (&json!(2), &json!(2)));
    file(&scratch, &ROUTES.replace("pagerduty", "sms").replace("10m", "20m"));
    let changed = apply(&stack, &both).await.with_code(0);
    for expected in [
        "~ route night\n    channels: pagerduty → sms",
        "~ escalation all\n    after 10m: sms → -\n    after 20m: - → sms",
        "services.toml: routes: 1 changed, 1 unchanged; escalations: 1 changed.",
        "kept (--prune removes them): a (production), b (test)",
    ] {
        assert!(changed.stdout.contains(expected), "{expected}: {changed:?}");
    }
    assert_eq!(database.count("services").await, 2, "a file of routes leaves the services");
}

#[tokio::test]
async fn a_file_without_routes_leaves_them_unless_it_is_pruned() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    apply(&stack, &file(&scratch, ROUTES)).await.with_code(0);
    let stored = routing(&database).await;
    let services = file(&scratch, TWO);
    let kept = apply(&stack, &services).await.with_code(0);
    assert!(kept.stdout.contains("kept (--prune removes them): route night, route rest, escalation all"), "{kept:?}");
    assert_eq!(routing(&database).await, stored);
    let dry = apply_with(&stack, &["--dry-run", "--prune", "--json"], &services).await.with_code(0).json();
    assert_eq!(
        (&dry["routes"]["removed"], &dry["escalations"]["removed"]),
        (&json!(["night", "rest"]), &json!(["all"]))
    );
    assert_eq!(routing(&database).await, stored);
    let pruned = apply_with(&stack, &["--prune", "--yes"], &services).await.with_code(0);
    assert!(pruned.stdout.contains("- route night") && pruned.stdout.contains("routes: 2 removed"), "{pruned:?}");
    assert_eq!(routing(&database).await, json!({"routes": [], "escalations": []}));
}

#[tokio::test]
async fn a_file_with_a_wrong_route_changes_nothing() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let wrong = ROUTES.replace("escalation = \"all\"", "escalation = \"al\"").replace("slack:#ops", "slak:#ops");
    let ended = apply(&stack, &file(&scratch, &format!("{wrong}{TWO}"))).await.with_code(2);
    for expected in [
        "line 4: escalation: there is no [[escalations]] \"al\"",
        "\"all\"?",
        "line 8: channels: \"slak\" is no channel",
    ] {
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    }
    assert_eq!((routing(&database).await, database.count("services").await), (Value::Null, 0));
    // Invalid stored routing is replaced.
    database.execute("INSERT INTO system_config (key, value) VALUES ('notification_routing', '[7]')").await;
    let replaced = apply(&stack, &file(&scratch, ROUTES)).await.with_code(0);
    assert!(replaced.stdout.contains("routes: 2 added"), "{replaced:?}");
}

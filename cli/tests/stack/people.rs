//! `ack`, `resolve`, `silence` and `notifications`.

use harness::Database;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::commands::stack;
use crate::process::{Stack, Start, run, watchkeeper};
use harness::scratch::Scratch;

/// Reports an error; its incident.
async fn incident(stack: &Stack) -> String {
    let (status, body) = stack.report(json!({"error": {"message": "boom"}, "context": {"application": "shop"}})).await;
    assert_eq!(status, 200, "{body}");
    body["incident_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_incident_is_acknowledged_and_resolved_by_a_person() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let id = incident(&stack).await;
    let taken = stack.command(&["ack", &id, "--by", "ann", "--comment", "investigating"]).await.with_code(0);
    assert_eq!(taken.stdout, format!("{id} is acknowledged by ann: boom\n"));
    let again = stack.command(&["ack", &id, "--by", "bob"]).await.with_code(0);
    assert_eq!(again.stdout, taken.stdout, "the assignee stays");
    let over = stack.command(&["resolve", &id, "--by", "bob", "--json"]).await.with_code(0).json();
    assert_eq!((&over["status"], &over["handled_by"]), (&json!("resolved"), &json!("bob")));
    let late = stack.command(&["ack", &id]).await.with_code(1);
    assert!(late.stderr.contains("409") && late.stderr.contains("resolved"), "{late:?}");
    let words = "SELECT string_agg(action_description, '; ' ORDER BY timestamp) FROM agent_actions
        WHERE action_type LIKE 'incident_%' AND agent_id = 'admin'";
    let words: String = database.value(words).await;
    assert_eq!(words, "Acknowledged by ann: investigating; Resolved by bob");
}

#[tokio::test]
async fn an_alert_is_acknowledged_by_its_id() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let sql = "INSERT INTO alert_events (service_name, alert_type, status, message)
        VALUES ('mail', 'service_degraded', 'active', 'it is slow') RETURNING id";
    let id: Uuid = database.rows(sql, &[]).await[0].get(0);
    let taken = stack.command(&["ack", &id.to_string()]).await.with_code(0);
    assert_eq!(taken.stdout, "the alert about mail (production) is acknowledged: it is slow\n");
    let by: String = database.value("SELECT action_details ->> 'by' FROM agent_actions").await;
    assert_eq!(by, "cli", "no USER is known here");
    for unknown in ["INC-NONE", &Uuid::new_v4().to_string()] {
        let ended = stack.command(&["resolve", unknown]).await.with_code(1);
        assert!(ended.stderr.contains("404") && ended.stderr.contains("no such"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_silence_is_added_listed_and_ended() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    assert_eq!(stack.command(&["silence", "list"]).await.with_code(0).stdout, "No silences.\n");
    let added = stack
        .command(&[
            "silence",
            "add",
            "--for",
            "2h",
            "--comment",
            "deploying",
            "--by",
            "ann",
            "--application",
            "shop",
            "--application",
            "blog-*",
            "--severity",
            "low",
            "--tag",
            "external",
        ])
        .await
        .with_code(0);
    assert!(
        added.stdout.starts_with("No notifications about application shop, blog-*; severity LOW; tags external until ")
    );
    let matchers: Value = database.value("SELECT matchers FROM silences").await;
    assert_eq!((&matchers["application"], &matchers["severity"]), (&json!(["shop", "blog-*"]), &json!(["LOW"])));
    let listed = stack.command(&["silence", "list"]).await.with_code(0);
    let id: Uuid = database.rows("SELECT id FROM silences", &[]).await[0].get(0);
    for expected in ["SILENCE", "UNTIL", "application s", &id.to_string()] {
        assert!(listed.stdout.contains(expected), "{expected}: {listed:?}");
    }
    let all = ["silence", "add", "--for", "30days", "--comment", "moving", "--all", "--json"];
    let all = stack.command(&all).await.with_code(0).json();
    assert_eq!((&all["author"], &all["matchers"]["application"]), (&json!("cli"), &json!([])));
    for silence in
        stack.command(&["silence", "list", "--json"]).await.with_code(0).json()["silences"].as_array().unwrap()
    {
        let id = silence["id"].as_str().unwrap();
        let ended = stack.command(&["silence", "end", id, "--by", "bob"]).await.with_code(0);
        assert_eq!(ended.stdout, format!("Silence {id} has ended.\n"));
    }
    assert_eq!(database.count("silences WHERE ends_at <= now()").await, 2);
    assert_eq!(stack.command(&["silence", "list"]).await.with_code(0).stdout, "No silences.\n");
    stack.command(&["silence", "end", &Uuid::new_v4().to_string()]).await.with_code(1);
}

#[tokio::test]
async fn invalid_arguments_are_wrong_use() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let add = ["silence", "add", "--for", "2h", "--comment", "x"];
    for (arguments, expected) in [
        (&["ack"][..], "ID"),
        (&["ack", "7"], "INC-"),
        (&["resolve", "INC 1"], "INC-"),
        (&["silence"], "add"),
        (&add, "--all"),
        (&["silence", "add", "--for", "soon", "--comment", "x", "--all"], "--for"),
        (&["silence", "add", "--for", "2h", "--all"], "--comment"),
        (&["silence", "add", "--for", "2h", "--comment", "x", "--severity", "bad"], "CRITICAL"),
        (&["silence", "add", "--for", "2h", "--comment", "x", "--category", "bad"], "backend"),
        (&["silence", "add", "--for", "2h", "--comment", "x", "--all", "--service", "a"], "--all"),
        (&["silence", "end", "7"], "7"),
        (&["notifications", "--limit", "0"], "--limit"),
        (&["notifications", "replay", "7"], "7"),
        (&["notifications", "nonsense"], "nonsense"),
    ] {
        let ended = stack.command(arguments).await.with_code(2);
        assert!(ended.stdout.is_empty() && ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }
    // An error of the server is a failure.
    let long = ["silence", "add", "--for", "31days", "--comment", "x", "--all"];
    let ended = stack.command(&long).await.with_code(1);
    assert!(ended.stderr.contains("30 days"), "{ended:?}");
    assert_eq!(database.count("silences").await, 0);
}

#[tokio::test]
async fn notifications_are_listed_and_replayed() {
    let scratch = Scratch::new();
    let (stack, database) = stack(&scratch).await;
    let none = stack.command(&["notifications"]).await.with_code(0);
    assert_eq!(none.stdout, "No notifications yet.\n");
    assert_eq!(stack.command(&["notifications", "--failed"]).await.stdout, "No failed notifications.\n");
    let (sent, failed) = (insert(&database, "sent").await, insert(&database, "failed").await);
    let listed = stack.command(&["notifications"]).await.with_code(0);
    for expected in ["NOTIFICATION", "slack", "sent", "failed", "404 no such chan"] {
        assert!(listed.stdout.contains(expected), "{expected}: {listed:?}");
    }
    assert_eq!(listed.stdout.lines().count(), 3);
    let json = stack.command(&["notifications", "--failed", "--json", "--limit", "1"]).await.with_code(0).json();
    let ids: Vec<&str> =
        json["notifications"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [failed.to_string()]);
    // The stack is stopped, so that it does not send it meanwhile.
    let database_url = database.url();
    drop(stack);
    let replay = |id: Uuid| {
        let mut command = watchkeeper(&["notifications", "replay", &id.to_string(), "--json", "--data-dir"]);
        command.arg(scratch.path()).env("DATABASE_URL", &database_url);
        command
    };
    for id in [failed, sent] {
        let replayed = run(&mut replay(id)).await.with_code(0).json();
        assert_eq!((&replayed["id"], &replayed["replay"]), (&json!(id), &json!("queued")));
    }
    assert_eq!(database.count("notifications WHERE status = 'pending'").await, 2);
    assert_eq!(run(&mut replay(failed)).await.with_code(0).json()["replay"], "waiting");
    let unknown = run(&mut replay(Uuid::new_v4())).await.with_code(1);
    assert!(unknown.stderr.contains("there is no notification"), "{unknown:?}");
}

/// A notification of this status to a channel that is not configured.
async fn insert(database: &Database, status: &str) -> Uuid {
    let sql =
        "INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content, status,
            attempts, next_attempt_at, response_status, last_error, created_at, sent_at)
        VALUES (gen_random_uuid(), gen_random_uuid(), 'slack', '#ops', 'firing', 'a', 'a',
            '{\"problems\": [{\"title\": \"boom\", \"incident_id\": \"INC-1\"}]}', $1, 1, now(),
            CASE $1 WHEN 'failed' THEN 404 ELSE 200 END, CASE $1 WHEN 'failed' THEN 'no such channel' END, now(),
            CASE $1 WHEN 'sent' THEN now() END)
        RETURNING id";
    database.rows(sql, &[&status]).await[0].get(0)
}

#[tokio::test]
async fn the_admin_token_is_sent() {
    const TOKEN: &str = "token-for-changing";
    let scratch = Scratch::new();
    let database = Database::migrated().await;
    let start = Start::on(&scratch).variable("DATABASE_URL", &database.url()).variable("ADMIN_TOKEN", TOKEN);
    let stack = start.ready().await;
    let id = incident(&stack).await;
    let elsewhere = || {
        let mut command = watchkeeper(&["ack", &id, "--data-dir"]);
        command.arg(scratch.path().join("elsewhere")).env("WATCHKEEPER_URL", stack.url()).env("USER", "ann");
        command
    };
    let refused = run(&mut elsewhere()).await.with_code(1);
    assert!(refused.stderr.contains("401") && !refused.said().contains(TOKEN), "{refused:?}");
    for variable in ["ADMIN_TOKEN", "WATCHKEEPER_TOKEN"] {
        let taken = run(elsewhere().env(variable, TOKEN)).await.with_code(0);
        assert!(taken.stdout.contains("acknowledged by ann"), "{taken:?}");
    }
}

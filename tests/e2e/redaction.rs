//! Secrets and personal data of a report are stored in no table, whichever route it came by.

use harness::{Database, TestStack};
use serde_json::{Value, json};
use shared::model::Limits;

/// One secret of each kind; none occurs in a test's own texts.
const PLANTED: [&str; 12] = [
    "ann.smith@customers.example",
    "203.0.113.77",
    "4111 1111 1111 1111",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy",
    "sk-ant-api03-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-AbCdEfGhIjKlMnOpQrStUv",
    "hunter2-and-more",
    "s3ss10n-c00k13-v4lu3",
    "pl4nt3d-p4ssw0rd",
    "t0k3n-0f-th3-b34r3r-0123456789",
];

/// All rows of this database, as text.
async fn everything(database: &Database) -> String {
    let tables = database
        .rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename", &[])
        .await;
    let mut text = String::new();
    for table in &tables {
        let table: &str = table.get(0);
        for row in database.rows(&format!("SELECT to_jsonb(it)::text FROM public.{table} AS it"), &[]).await {
            text.push_str(row.get(0));
        }
    }
    text
}

async fn assert_no_secret_is_stored(database: &Database) {
    let stored = everything(database).await;
    for secret in PLANTED {
        assert!(!stored.contains(secret), "{secret} is stored: …{}…", around(&stored, secret));
    }
}

fn around<'a>(text: &'a str, part: &str) -> &'a str {
    let at = text.find(part).unwrap_or_default();
    &text[text.floor_char_boundary(at.saturating_sub(80))..text.floor_char_boundary((at + 80).min(text.len()))]
}

#[tokio::test]
async fn a_report_s_secrets_are_stored_in_no_table() {
    let stack = TestStack::start().await;
    let [mail, ip, card, jwt, aws, github, slack, anthropic, password, cookie, planted, bearer] = PLANTED;
    let answer = stack
        .report_ok(json!({
            "error": {
                "message": format!("{mail} from {ip} paid with {card}, see postgres://app:{planted}@db.internal/shop"),
                "type": format!("AuthError {aws}"),
                "stack": format!("at login (Authorization: Bearer {bearer})\n  token = \"{jwt}\"\n  at {github}"),
            },
            "context": {
                "application": "shop", "environment": "test", "endpoint": format!("/login?token={slack}&email={mail}"),
                "password": password, "nested": [{"headers": [["Cookie", format!("sid={cookie}")], ["X-Api-Key", anthropic]]}],
                mail: "as a key", "log": format!("{{\"password\": \"{password}\", \"user\": \"{mail}\"}}"),
            },
            "source": format!("worker {github}"), "extra": {"api_key": anthropic, "client_ip": ip},
        }))
        .await;
    assert_no_secret_is_stored(&stack.database).await;
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!(
        incident["error_message"],
        "[email] from [ip] paid with [card], see postgres://app:[password]@db.internal/shop"
    );
    assert_eq!(incident["environment"], "test");
}

#[tokio::test]
async fn what_an_operator_s_own_patterns_match_is_stored_in_no_table() {
    let stack = TestStack::builder().redact_patterns(&["ACME-[0-9]{6}"]).start(Database::migrated().await).await;
    stack
        .report_ok(
            json!({"error": {"message": "no contract ACME-123456"}, "context": {"ACME-654321": ["ACME-111111"]}}),
        )
        .await;
    let stored = everything(&stack.database).await;
    assert!(!stored.contains("ACME-"), "…{}…", around(&stored, "ACME-"));
}

#[tokio::test]
async fn an_sdk_event_s_secrets_are_stored_in_no_table() {
    let stack = TestStack::start().await;
    let number = stack.application("shop", None, Limits::default()).await;
    let [mail, ip, card, jwt, aws, github, slack, anthropic, password, cookie, planted, bearer] = PLANTED;
    let event: Value = json!({
        "event_id": "9ec79c33ec9942ab8353589fcb2e04dc",
        "exception": {"values": [{
            "type": "LoginError", "value": format!("{mail} is locked out, card {card}"),
            "stacktrace": {"frames": [{"function": "login", "module": "app.auth", "in_app": true,
                "vars": {"password": password, "request": {"headers": {"Cookie": cookie}}, "key": aws}}]},
        }]},
        "user": {"id": "17", "email": mail, "ip_address": ip, "username": mail},
        "request": {"url": format!("https://shop.example/login?token={slack}"), "headers": {"Authorization": format!("Bearer {bearer}")},
            "cookies": {"sid": cookie}, "data": {"password": planted}},
        "tags": {"customer": mail, "jwt": jwt}, "extra": {"github": github, "anthropic_api_key": anthropic},
        "breadcrumbs": {"values": [{"message": format!("login of {mail} with {password}: token={bearer}"), "data": {"token": github}}]},
        "contexts": {"app": {"secret": anthropic}},
    });
    let event = event.to_string();
    let envelope = format!("{{}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n", event.len());
    let dsn = stack.dsn(number);
    let key = dsn.split("//").nth(1).unwrap().split('@').next().unwrap().to_owned();
    let request = stack.request("POST", &format!("/api/{number}/envelope/?sentry_key={key}"));
    assert_eq!(stack.send(request.body(envelope)).await.status, 200);
    assert_eq!(stack.database.count("incidents WHERE user_count = 1").await, 1);
    let stored = everything(&stack.database).await;
    // A secret in a sentence that nothing marks as one can't be recognised.
    for secret in PLANTED.iter().filter(|secret| **secret != password) {
        assert!(!stored.contains(secret), "{secret} is stored: …{}…", around(&stored, secret));
    }
}

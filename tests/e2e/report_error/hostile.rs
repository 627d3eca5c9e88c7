//! Malformed, hostile and unusual input: never a 500, and no error is lost that could be stored.

use harness::TestStack;
use serde_json::{Value, json};

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn an_invalid_report_is_refused_with_the_name_of_the_field() {
    let stack = TestStack::start().await;
    for (body, named) in [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "object"),
        ("{}", "`error`"),
        (r#"{"error": {"message": ""}}"#, "`error.message`"),
        (r#"{"error": {"message": 1}}"#, "`error.message`"),
        (r#"{"error": {"message": "x"}, "context": []}"#, "`context`"),
        (r#"{"error": {"message": 1e999999}}"#, "not JSON"),
    ] {
        let answer = stack.report_bytes(body, JSON).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.error().contains(named), "{body} → {}", answer.error());
    }
    let nested =
        format!(r#"{{"error": {{"message": "x"}}, "context": {{"a": {}1{}}}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(stack.report_bytes(nested, JSON).await.status, 400);
    let invalid = stack.report_bytes(b"{\"error\": {\"message\": \"\xff\xfe\"}}".to_vec(), JSON).await;
    assert_eq!(invalid.status, 400);
    assert_eq!(stack.database.count("incidents").await, 0);
}

#[tokio::test]
async fn a_body_of_one_mebibyte_is_accepted_and_one_byte_more_is_not() {
    let stack = TestStack::start().await;
    let body = |length: usize| {
        let frame = r#"{"error": {"message": ""}}"#.len();
        json!({"error": {"message": "m".repeat(length - frame)}})
            .to_string()
            .replace("\":{", "\": {")
            .replace("\":\"", "\": \"")
    };
    let (largest, too_large) = (body(1024 * 1024), body(1024 * 1024 + 1));
    assert_eq!((largest.len(), too_large.len()), (1024 * 1024, 1024 * 1024 + 1));
    assert_eq!(stack.report_bytes(largest, JSON).await.status, 200);
    assert_eq!(stack.report_bytes(too_large, JSON).await.status, 413);
    let stored: i32 = stack.database.value("SELECT length(error_message) FROM incidents").await;
    assert!(stored > 1_000_000);
}

#[tokio::test]
async fn a_body_of_another_content_type_is_refused() {
    let stack = TestStack::start().await;
    let body = r#"{"error": {"message": "x"}}"#;
    for (content_type, status) in [
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("multipart/form-data; boundary=x"), 415),
        (Some("application/json; charset=utf-8"), 200),
        (None, 200),
    ] {
        assert_eq!(stack.report_bytes(body, content_type).await.status, status, "{content_type:?}");
    }
    let packed = stack.request("POST", "/api/autonomous/error").header("content-encoding", "gzip").body(body);
    assert_eq!(stack.send(packed).await.status, 415);
    assert_eq!(stack.report_bytes(format!("\u{FEFF}{body}"), JSON).await.status, 200, "a byte order mark");
}

#[tokio::test]
async fn unknown_fields_are_kept_in_the_context() {
    let stack = TestStack::start().await;
    let answer =
        stack.report_ok(json!({"error": {"message": "x", "code": "E42"}, "context": {"a": 1}, "build": 7})).await;
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!(incident["context"], json!({"a": 1, "error": {"code": "E42"}, "build": 7}));
}

#[tokio::test]
async fn without_a_key_only_local_programs_may_report_and_reading_is_refused() {
    let stack = TestStack::start().await;
    let own = stack.url();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", "null"),
        ("host", "evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("via", "1.1 proxy"),
    ] {
        let write = stack.request("POST", "/api/autonomous/error").header(name, value);
        assert_eq!(stack.send(write.body(r#"{"error": {"message": "x"}}"#)).await.status, 403, "{name}");
        let read = stack.request("GET", "/api/incidents").header(name, value);
        assert_eq!(stack.send(read).await.status, 401, "{name}");
    }
    assert_eq!(stack.database.count("incidents").await, 0);
    for path in ["/status", "/metrics", "/api/incidents", "/api/silences"] {
        assert_eq!(stack.send(stack.request("GET", path)).await.status, 401, "{path}");
    }
    let write = stack.request("POST", "/api/autonomous/error").header("origin", own);
    assert_eq!(stack.send(write.json(&json!({"error": {"message": "x"}}))).await.status, 200, "a page of our own");
}

#[tokio::test]
async fn nul_characters_are_stored_as_replacement_characters() {
    let stack = TestStack::start().await;
    let body = r#"{"error": {"message": "a\u0000b", "type": "T\u0000", "stack": "\u0000"},
        "context": {"application": "ap\u0000p", "environment": "e\u0000", "endpoint": "\u0000",
            "k\u0000": ["\u0000", {"deep\u0000": "\u0000"}]}, "severity": "\u0000", "source": "s\u0000"}"#;
    let answer = stack.report_bytes(body, JSON).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!(incident["error_message"], "a\u{FFFD}b");
    assert_eq!(incident["application"], "ap\u{FFFD}p");
    assert_eq!(incident["context"]["k\u{FFFD}"], json!(["\u{FFFD}", {"deep\u{FFFD}": "\u{FFFD}"}]));
}

#[tokio::test]
async fn an_unknown_severity_is_ignored_and_kept_in_the_context() {
    let stack = TestStack::start().await;
    let answer = stack.report_ok(json!({"error": {"message": "data loss"}, "severity": "apocalyptic"})).await;
    assert_eq!(answer.text("severity"), "CRITICAL");
    let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
    assert_eq!(incident["context"]["severity"], "apocalyptic");
}

#[tokio::test]
async fn an_object_with_very_many_keys_is_stored() {
    let stack = TestStack::start().await;
    let context: serde_json::Map<String, Value> = (0..80_000).map(|number| (format!("k{number}"), json!(1))).collect();
    let answer = stack.report_ok(json!({"error": {"message": "many keys"}, "context": context})).await;
    let keys: i64 = stack.database.value("SELECT count(*) FROM incidents, jsonb_object_keys(context)").await;
    assert_eq!(keys, 80_000, "{answer:?}");
    // A million keys would exceed the body limit.
    let million: String = (0..1_000_000).map(|number| format!("\"{number}\":1,")).collect();
    let body = format!("{{\"error\":{{\"message\":\"x\"}},\"context\":{{{million}\"z\":1}}}}");
    assert_eq!(stack.report_bytes(body, JSON).await.status, 413);
}

#[tokio::test]
async fn unusual_but_valid_texts_are_stored_unchanged() {
    let stack = TestStack::start().await;
    for message in
        ["Ünïcödé 漢字 🧨", "'; DROP TABLE incidents; --", "\u{202e}right to left", "\n\t line", "$1 %s {} \\"]
    {
        let answer = stack.report_ok(json!({"error": {"message": message, "type": message}})).await;
        let incident = stack.get(&format!("/api/incidents/{}", answer.text("incident_id"))).await.body;
        assert_eq!(incident["error_message"], message);
    }
    let half_an_emoji = stack.report_bytes(r#"{"error": {"message": "cut \ud83d"}}"#, JSON).await;
    assert_eq!(half_an_emoji.status, 200);
}

#[tokio::test]
async fn hostile_headers_cause_no_500() {
    let stack = TestStack::start().await;
    let body = json!({"error": {"message": "x"}});
    for (name, value) in [
        ("idempotency-key", vec![0xfe, 0xff]),
        ("idempotency-key", vec![b'k'; 6_000]),
        ("authorization", vec![0xff]),
        ("x-api-key", b"anything".to_vec()),
    ] {
        let request = stack.request("POST", "/api/autonomous/error").header(name, value).json(&body);
        assert_eq!(stack.send(request).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_have_the_same_error_shape() {
    let stack = TestStack::start().await;
    for (method, path, status) in
        [("GET", "/", 404), ("GET", "/api/autonomous/error", 405), ("PUT", "/health", 405), ("POST", "/nowhere", 404)]
    {
        let answer = stack.send(stack.request(method, path)).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(answer.body["error"]["code"].is_string(), "{answer:?}");
    }
}

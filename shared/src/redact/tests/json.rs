//! JSON: names, pairs, lists, keys, JSON within strings.

use serde_json::{Value, json};

use super::super::Redactor;

fn assert_redacted(value: Value, expected: &Value) {
    let once = Redactor::default().value(value);
    assert_eq!(&once, expected);
    assert_eq!(&Redactor::default().value(once.clone()), expected, "the second time");
}

#[test]
fn values_under_secret_names_are_redacted_at_any_depth() {
    let cases = [
        (json!({"password": "x"}), json!({"password": "[password]"})),
        (json!({"a": [{"b": {"apiKey": "x"}}]}), json!({"a": [{"b": {"apiKey": "[token]"}}]})),
        (json!({"password": 1234, "token": null}), json!({"password": "[password]", "token": null})),
        (json!({"password": true, "secret": ""}), json!({"password": true, "secret": ""})),
        (
            json!({"credentials": {"user": "a", "n": 1, "list": ["b", {"c": "d"}]}}),
            json!({"credentials": {"user": "[redacted]", "n": "[redacted]", "list": ["[redacted]", {"c": "[redacted]"}]}}),
        ),
        (json!({"cookies": {"sid": "abc", "a": "b"}}), json!({"cookies": {"sid": "[token]", "a": "[cookie]"}})),
        (json!({"headers": {"Cookie": "a=b", "Host": "x"}}), json!({"headers": {"Cookie": "[cookie]", "Host": "x"}})),
        (json!({"headers": {"authorization": ["Bearer x"]}}), json!({"headers": {"authorization": ["[token]"]}})),
        (json!({"vars": {"password": "'hunter2'"}}), json!({"vars": {"password": "[password]"}})),
        (
            json!({"vars": {"kw": "{'password': 'x', 'a': 1}"}}),
            json!({"vars": {"kw": "{'password': '[password]', 'a': 1}"}}),
        ),
        (json!({"session": {"id": "abc", "n": 3}}), json!({"session": {"id": "[token]", "n": 3}})),
        (json!({"password": "[Filtered]"}), json!({"password": "[Filtered]"})),
        (json!({"card": 4_111_111_111_111_111_i64}), json!({"card": "[card]"})),
        (
            json!({"user": {"email": "a@b.io", "ip_address": "8.8.8.8"}}),
            json!({"user": {"email": "[email]", "ip_address": "[ip]"}}),
        ),
        (json!({"dsn": "https://a:b@h/1"}), json!({"dsn": "https://a:[password]@h/1"})),
        (
            json!({"env": {"DATABASE_URL": "postgres://a:b@h/x"}}),
            json!({"env": {"DATABASE_URL": "postgres://a:[password]@h/x"}}),
        ),
    ];
    for (value, expected) in cases {
        assert_redacted(value, &expected);
    }
}

#[test]
fn names_in_pairs_and_lists_are_recognised() {
    let cases = [
        (json!([["Host", "x"], ["Cookie", "a=b"]]), json!([["Host", "x"], ["Cookie", "[cookie]"]])),
        (json!({"headers": [["X-Api-Key", "x"]]}), json!({"headers": [["X-Api-Key", "[token]"]]})),
        (json!([["password", "token"]]), json!([["password", "[password]"]])),
        (json!([{"name": "Cookie", "value": "a"}]), json!([{"name": "Cookie", "value": "[cookie]"}])),
        (json!([{"key": "password", "value": ["a"]}]), json!([{"key": "password", "value": ["[password]"]}])),
        (
            json!({"rawHeaders": ["Host", "x", "Cookie", "a=b"]}),
            json!({"rawHeaders": ["Host", "x", "Cookie", "[cookie]"]}),
        ),
        (
            json!({"sys.argv": ["a.py", "--password", "x", "y"]}),
            json!({"sys.argv": ["a.py", "--password", "[password]", "y"]}),
        ),
        (json!(["a.py", "--token=x"]), json!(["a.py", "--token=[token]"])),
        (
            json!({"query_string": [["token", "x"], ["q", "y"]]}),
            json!({"query_string": [["token", "[token]"], ["q", "y"]]}),
        ),
        (json!({"cookies": [["sid", "x"]]}), json!({"cookies": [["[cookie]", "[cookie]"]]})),
    ];
    for (value, expected) in cases {
        assert_redacted(value, &expected);
    }
}

#[test]
fn json_within_strings_is_read() {
    let cases = [
        (json!({"body": "{\"password\": \"x\", \"a\": 1}"}), json!({"body": "{\"a\":1,\"password\":\"[password]\"}"})),
        (json!({"body": "{\"cookies\":{\"a\":\"b\"}}"}), json!({"body": "{\"cookies\":{\"a\":\"[cookie]\"}}"})),
        (json!({"body": "{\"a\": 1}"}), json!({"body": "{\"a\": 1}"})),
        (json!("[[\"Cookie\",\"a=b\"]]"), json!("[[\"Cookie\",\"[cookie]\"]]")),
        (json!("{\"a\":\"{\\\"token\\\":\\\"x\\\"}\"}"), json!("{\"a\":\"{\\\"token\\\":\\\"[token]\\\"}\"}")),
        (json!("{\"m\": \"to a@b.io\", \"m\": \"x\"}"), json!("{\"m\":\"x\"}")),
        (json!("{\"password\": \"hunter2\", \"cut"), json!("{\"password\": \"[password]\", \"cut")),
    ];
    for (value, expected) in cases {
        assert_redacted(value, &expected);
    }
}

#[test]
fn secrets_in_keys_are_redacted_and_no_value_is_lost() {
    assert_redacted(
        json!({"a@b.io": 1, "c@d.io": 2, "x": {"8.8.8.8": {"y": 1}}}),
        &json!({"[email]": 1, "[email] (2)": 2, "x": {"[ip]": {"y": 1}}}),
    );
}

#[test]
fn harmless_values_stay() {
    for value in [
        json!({"token_count": 512, "tokens": 512, "usage": {"max_tokens": 4096, "prompt_tokens": "12"}}),
        json!({"fields": ["password", "email", "token"], "pair": ["password", "email"]}),
        json!({"contexts": {"runtime": {"name": "CPython", "version": "3.11.7.1"}, "os": {"build": "10.0.19.1"}}}),
        json!({"modules": {"torch": "2.0.1.0"}, "sdk": {"packages": [{"name": "pypi:x", "version": "2.75.0"}]}}),
        json!({"event_id": "6699f83f72ce4ec8a67cef6057f7b04b", "timestamp": 1_795_413_931.379_181_4, "n": 41_111_111}),
        json!({"has_password": "yes", "password_changed_at": "2026-01-01", "is_token": 1, "page_token": "abc"}),
        json!([1, 2.5, null, true, "text", [], {}]),
    ] {
        assert_redacted(value.clone(), &value);
    }
}

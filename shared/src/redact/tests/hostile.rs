//! Text made to be slow, and deeply nested values.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::Redactor;

#[test]
fn no_text_takes_more_than_linear_time() {
    #[rustfmt::skip]
    let pieces = [
        "@", "a@", "@a", "a.", "a@a.", "%40", "%", "%25", "1", "1 ", "1.", "1.1.1.1.", "1-", "4111 ", "4111111111111111",
        "eyJ", "eyJa.", "eyJaaaaaaaaaa", "password=", "password=\"", "password='\\", "password:", "password: [", "{", "[",
        "password={", ":", "::", "1:", "a:", "://", "://a:", "://a:b", "a://a:b@", "%3A%2F%2F", "%3a%2f%2fa%3ab", "sk-",
        "AKIA", "AKIAAAAAAAAAAAAAAAAA", "Bearer ", "Basic ", "Basic dTpw ", "-", "--", "--password ", "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY", "Cookie: ", "Cookie:a=\"", "Authorization:", "\\", "\\\"",
        "\"", "'", "\"a\",", "('cookie',", "('cookie','", "<password>", "<password>a", ",", "a=", "a&", "password=&", "=",
        "password=a;", "password=a,b", " ", "password= ", "ghp_", "ghp_aaaaaaaaaaaaaaaa", "xox", "xoxb-", "é", "é@é.éé", "😀",
        "hooks.slack.com/", "token token token:", "\\u0040", "\\n", "&quot;", "password=&quot;", "aA", "a-a_", "SG.",
        "identified by '", "password '", "user:pass@host:1", "a:a", "a@a:", "::1", "f::", "ffff:",
    ];
    for piece in pieces {
        // Other processes disturb single measurements; a quadratic algorithm would take 64 times as long.
        let short = (0..3).map(|_| time(piece, 10_000)).max().unwrap().max(Duration::from_millis(2));
        let is_linear = (0..4).any(|_| time(piece, 80_000) < 30 * short);
        assert!(is_linear, "{piece:?} repeated takes more than linear time");
    }
    for piece in ["@", "1", "eyJ", "password="] {
        assert!(time(piece, 1_000_000) < Duration::from_secs(20), "{piece:?}");
    }
}

fn time(piece: &str, length: usize) -> Duration {
    let text = piece.repeat(length / piece.len());
    let started = Instant::now();
    let _ = Redactor::default().text(&text);
    started.elapsed()
}

#[test]
fn json_in_json_in_json_ends() {
    let mut text = "{\"password\":\"hunter2\"}".to_owned();
    for _ in 0..12 {
        text = json!({ "a": text }).to_string();
    }
    assert!(!Redactor::default().text(&text).contains("hunter2"));
}

#[test]
fn a_deep_value_overflows_no_stack() {
    let mut value = json!("hunter2");
    for _ in 0..100_000 {
        value = Value::Array(vec![value]);
    }
    let redacted = Redactor::default().value(value).to_string();
    assert!(redacted.len() < 1_000 && !redacted.contains("hunter2"));
}

#[test]
fn any_cut_of_a_text_is_redacted_without_a_panic() {
    let text = "é password=\"ü\\\"x\" %C3%A9@ü.de https://ü:p%40@h/ \\u00e9 4111 1111 1111 1111 eyJhbGciOiJ9.eyJ.é \
        -----BEGIN PRIVATE KEY-----\\nü Bearer ü (b'cookie', b'ü') <token>ü</token> AKIAIOSFODNN7EXAMPLE/ü %3D%é";
    for start in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        for end in (start..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let _ = Redactor::default().text(&text[start..end]);
        }
    }
}

//! Operators' own patterns.

use serde_json::json;

use super::super::Redactor;

#[test]
fn an_operators_pattern_is_replaced_everywhere() {
    let redactor = Redactor::with_patterns(&[r"CUST-\d+", "", r"(?i)project \w+"]).unwrap();
    assert_eq!(redactor.text("CUST-12 of Project Blue"), "[redacted] of [redacted]");
    assert_eq!(redactor.value(json!({"CUST-1": ["CUST-2", 3]})), json!({"[redacted]": ["[redacted]", 3]}));
    let numbers = Redactor::with_patterns(&[r"^\d{10}$"]).unwrap();
    assert_eq!(numbers.value(json!({"n": 1_234_567_890, "m": 1})), json!({"n": "[redacted]", "m": 1}));
}

#[test]
fn a_pattern_that_matches_our_own_words_does_not_change_them() {
    let redactor = Redactor::with_patterns(&[r"\w+", "x*"]).unwrap();
    let once = redactor.text("to a@b.io").into_owned();
    assert_eq!(once, "[redacted] [email]");
    assert_eq!(redactor.text(&once), once);
}

#[test]
fn a_bad_pattern_is_named() {
    for bad in ["(", r"(\w{1000}){1000}"] {
        let error = Redactor::with_patterns(&["fine", bad]).unwrap_err();
        assert_eq!(error.pattern, bad);
        assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
    }
}

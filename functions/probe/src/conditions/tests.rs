//! Conditions that hold, that do not hold, and that can't be parsed.

use proptest::prelude::*;

use super::*;

const BODY: &str = r#"{"db":{"ok":true,"lag":1.5},"name":"john doe","items":[{"name":"johnny"},{"name":"x"}],
    "none":null,"empty":"","my.key":"dot","code":"5","n":5,"ü":"ä"}"#;

const HOLDING: &[&str] = &[
    "[STATUS] == 200",
    "[STATUS]==200",
    "  [STATUS]  ==  200  ",
    "[STATUS] == any(200, 204)",
    "[STATUS] != any(500, 503)",
    "[STATUS] < 300",
    "[STATUS] >= 200",
    "[BODY].db.ok == true",
    "[BODY].db.lag > 1.4",
    "[BODY].db.lag == 1.50",
    "[BODY].name == john doe",
    "[BODY].name == \"john doe\"",
    "[BODY].name == pat(john*)",
    "[BODY].name != pat(*smith)",
    "[BODY].name == any(jane, john doe)",
    "[BODY].name == any(pat(*x), pat(j*e))",
    "[BODY].items[0].name == johnny",
    "[BODY].items[1].name == x",
    "[BODY][\"my.key\"] == dot",
    "[BODY].code == 5",
    "[BODY].code == \"5\"",
    "[BODY].code > 4",
    "[BODY].n == 5.0",
    "[BODY].n == any(4, 5)",
    "[BODY].none == null",
    "[BODY].empty == \"\"",
    "[BODY].ü == ä",
    "[BODY].missing != 3",
    "[BODY] == pat(*johnny*)",
    "len([BODY].items) == 2",
    "len([BODY].name) == 8",
    "len([BODY].db) > 1",
    "len([BODY]) > 3",
    "len( [BODY].items ) > 0",
    "has([BODY].none) == true",
    "has([BODY].missing) == false",
    "has([BODY].missing) != true",
    "has([HEADER].content-type) == true",
    "[HEADER].Content-Type == pat(*json*)",
    "[HEADER].x-many == a, b",
    "[HEADER].none != 1",
    "[RESPONSE_TIME] < 500",
    "[RESPONSE_TIME] < 500ms",
    "[RESPONSE_TIME] < 0.5s",
    "[RESPONSE_TIME] < 2s",
    "[CERTIFICATE_EXPIRATION] > 14d",
    "[CERTIFICATE_EXPIRATION] > 48h",
    "[CERTIFICATE_EXPIRATION] > 13d23h59m",
    "[CONNECTED] == true",
    "[IP] == 192.0.2.7",
    "[IP] == any(192.0.2.6, 192.0.2.7)",
    "[DNS_RCODE] == NOERROR",
    "[ANSWER] == 192.0.2.2",
    "[ANSWER] == any(192.0.2.9, 192.0.2.1)",
    "[ANSWER] == pat(192.*)",
    "[ANSWER] != 192.0.2.9",
    "len([ANSWER]) == 2",
];

fn parse(condition: &str) -> Conditions {
    Conditions::parse(&[condition.to_owned()]).unwrap_or_else(|error| panic!("{error}"))
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.append("x-many", "a".parse().unwrap());
    headers.append("x-many", "b".parse().unwrap());
    headers
}

/// The description of a condition that does not hold.
fn described(condition: &str, body: &str) -> Option<String> {
    let headers = headers();
    let records = ["192.0.2.1".to_owned(), "192.0.2.2".to_owned()];
    let answer = Answer {
        status: Some(200),
        headers: Some(&headers),
        body: Some(body),
        response_time: Duration::from_millis(499),
        certificate_left: Some(TimeDelta::hours(14 * 24 + 5)),
        connected: true,
        address: Some("192.0.2.7".parse().unwrap()),
        dns_code: Some("NOERROR"),
        records: &records,
    };
    parse(condition).first_broken(&answer).map(|broken| broken.describe(|seen| seen))
}

#[test]
fn conditions_that_hold() {
    for condition in HOLDING {
        assert_eq!(described(condition, BODY), None);
    }
}

#[test]
fn a_broken_condition_is_described_with_the_seen_value() {
    for (condition, seen) in [
        ("[STATUS] == any(201, 204)", "it is 200"),
        ("[BODY].db.ok == false", "it is true"),
        ("[BODY].db.lag < 1", "it is 1.5"),
        ("[BODY].name > 3", "it is john doe"),
        ("[BODY].missing == 3", "there is no such field"),
        ("[BODY].items[2].name == x", "there is no such field"),
        ("[BODY].items.name == x", "there is no such field"),
        ("[BODY].empty == x", "it is empty"),
        ("[BODY].db == x", r#"it is {"lag":1.5,"ok":true}"#),
        ("len([BODY].items) > 2", "it is 2"),
        ("len([BODY].missing) > 2", "there is no such field"),
        ("len([BODY].n) > 2", "it is a number, which has no length"),
        ("len([BODY].none) > 2", "it is null"),
        ("has([BODY].none) == false", "it is true"),
        ("[HEADER].content-type == text/html", "it is application/json"),
        ("[RESPONSE_TIME] < 400", "it is 499 ms"),
        ("[CERTIFICATE_EXPIRATION] > 15d", "it is 14d 5h"),
        ("[ANSWER] == 192.0.2.9", "it is 192.0.2.1, 192.0.2.2"),
        ("[ANSWER] != 192.0.2.1", "it is 192.0.2.1, 192.0.2.2"),
    ] {
        assert_eq!(described(condition, BODY), Some(format!("{condition}, but {seen}")));
    }
}

#[test]
fn a_body_that_is_not_json_has_no_fields() {
    for condition in ["[BODY].a == 1", "[BODY].a != 1", "has([BODY].a) == false", "len([BODY].a) > 0"] {
        assert_eq!(described(condition, "<html>"), Some(format!("{condition}, but the body is not JSON")));
    }
    assert_eq!(described("len([BODY]) == 6", "<html>"), None);
    assert_eq!(described("[BODY] == <html>", " <html>\n"), None);
}

#[test]
fn a_long_seen_value_is_cut() {
    let text = described("[BODY] == ok", &"é".repeat(9_000)).unwrap();
    assert_eq!(text.chars().count(), "[BODY] == ok, but it is ".chars().count() + 101);
    assert!(text.ends_with('…'));
}

#[test]
fn deeply_nested_json_is_refused() {
    let deep = "[".repeat(60_000);
    assert_eq!(described("[BODY].a == 1", &deep), Some("[BODY].a == 1, but the body is not JSON".to_owned()));
}

#[test]
fn a_parse_error_contains_the_position() {
    for (condition, position, problem) in [
        ("", 1, "expected [STATUS]"),
        ("STATUS == 200", 1, "expected [STATUS]"),
        ("[STATE] == 200", 1, "expected [STATUS]"),
        ("[STATUS == 200", 8, "expected \"]\""),
        ("[STATUS] = 200", 10, "expected ==, !=, <, <=, > or >="),
        ("[STATUS] ==", 12, "expected a value"),
        ("[STATUS] < abc", 12, "expected a number"),
        ("[STATUS] < any(1, 2)", 12, "expected a number"),
        ("[STATUS] < pat(2*)", 12, "expected a number"),
        ("[STATUS] < NaN", 12, "expected a number"),
        ("[STATUS] == any(200, 204", 25, "expected \",\" or \")\""),
        ("[STATUS] == any(200,)", 21, "expected a value"),
        ("[STATUS] == any()", 17, "expected a value"),
        ("[STATUS] == pat(2*", 19, "expected \")\""),
        ("[STATUS] == any(1) 2", 20, "expected nothing more"),
        ("[STATUS].x == 200", 9, "expected =="),
        ("[BODY]. == 1", 8, "expected the name of a field"),
        ("[BODY][x] == 1", 8, "expected an index"),
        ("[BODY][99999999999999999999] == 1", 28, "expected an index"),
        ("[BODY][\"a] == 1", 8, "the quotes are not closed"),
        ("[HEADER] == 1", 9, "expected \".\""),
        ("[BODY].x == \"abc", 13, "the quotes are not closed"),
        ("len([STATUS]) > 1", 14, "len and has are for"),
        ("len([BODY] > 1", 12, "expected \")\""),
        ("has([BODY].x) == 1", 18, "expected true or false"),
        ("[CONNECTED] == yes", 16, "expected true or false"),
        ("[RESPONSE_TIME] < fast", 19, "expected a duration such as 500, 500ms or 2s"),
        ("[CERTIFICATE_EXPIRATION] > 14", 28, "expected a duration such as 14d or 48h"),
        ("[CERTIFICATE_EXPIRATION] > 14 days", 28, "expected a duration"),
        ("[ÄÖÜ] == 1", 2, "expected \"]\""),
    ] {
        let error = Conditions::parse(&[condition.to_owned()]).unwrap_err();
        assert!(error.problem.starts_with(problem), "{error}");
        assert_eq!(error.position, position, "{error}");
        assert!(error.to_string().contains(&format!("{condition:?}, character {position}: ")), "{error}");
    }
}

#[test]
fn length_limits_are_enforced() {
    for condition in [
        format!("[BODY] == {}", "x".repeat(491)),
        format!("[BODY]{} == 1", ".a".repeat(33)),
        format!("[STATUS] == any({}1)", "1,".repeat(50)),
    ] {
        assert!(Conditions::parse(std::slice::from_ref(&condition)).is_err(), "{condition}");
    }
    assert!(Conditions::parse(&[format!("[BODY] == {}", "x".repeat(490))]).is_ok());
}

#[test]
fn values_are_limited_to_their_kinds() {
    for (condition, kinds) in [
        ("[STATUS] == 200", &[Kind::Http][..]),
        ("[BODY].a == 1", &[Kind::Http]),
        ("[CERTIFICATE_EXPIRATION] > 1d", &[Kind::Http, Kind::Tls]),
        ("[IP] == 192.0.2.1", &[Kind::Http, Kind::Tcp, Kind::Tls]),
        ("[ANSWER] == x", &[Kind::Dns]),
        ("[RESPONSE_TIME] < 1s", &[Kind::Http, Kind::Tcp, Kind::Tls, Kind::Dns, Kind::Postgres]),
    ] {
        for kind in Kind::ALL {
            assert_eq!(parse(condition).check_kind(kind).is_ok(), kinds.contains(&kind), "{condition} {kind}");
        }
    }
}

#[test]
fn only_conditions_on_the_body_need_it() {
    assert!(parse("[BODY] == x").need_body() && parse("len([BODY].a) > 1").need_body());
    assert!(!parse("[STATUS] == 200").need_body() && parse("[STATUS] == 200").use_status());
    assert!(!parse("[BODY] == [STATUS]").use_status());
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,60}") {
        let _ = Conditions::parse(&[text]);
    }

    #[test]
    fn parsing_and_evaluating_random_tokens_never_panics(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "[STATUS]", "[BODY]", "[HEADER].", "[RESPONSE_TIME]", "[CERTIFICATE_EXPIRATION]", "len(", "has(", ")", "any(",
                "pat(", ".a", "[0]", "[\"", "\"", "\\", ",", "==", "<", "200", "14d", "1.5s", "ä", " ", "*", "true",
            ]),
            0..12,
        ),
        body in "\\PC{0,40}",
    ) {
        let text = parts.concat();
        if let Ok(conditions) = Conditions::parse(&[text]) {
            let answer = Answer { body: Some(&body), status: Some(200), ..Answer::default() };
            let text = conditions.first_broken(&answer).map(|broken| broken.describe(|seen| seen));
            prop_assert!(text.is_none_or(|text| text.chars().count() <= 500 + 10 + SEEN_CHARS + 1));
        }
    }
}

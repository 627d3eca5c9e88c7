//! Properties over generated text: no planted secret survives, ordinary text stays, redaction is idempotent.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::Redactor;

/// A secret in one of its formats, and the part of it that must not survive.
#[derive(Debug, Clone)]
struct Planted {
    written: String,
    secret: String,
}

fn itself() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{3,10}\\.[a-z]{3,10}[0-9]{0,3}@[a-z]{3,10}\\.(com|org|co\\.uk|io)",
        any::<[u8; 4]>()
            .prop_filter("a public address", |it| it[1] > 0)
            .prop_map(|it| std::net::Ipv4Addr::from(it).to_string())
            .prop_filter("a public address", |it| !it.starts_with("255.255.")),
        any::<[u16; 8]>()
            .prop_filter("in full", |it| !it.contains(&0))
            .prop_map(|it| std::net::Ipv6Addr::from(it).to_string()),
        card(),
        "(AKIA|ASIA)[A-Z0-9]{16}",
        "(ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36}",
        "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
        "glpat-[A-Za-z0-9_-]{20}",
        "xox[bpas]-[0-9]{12}-[A-Za-z0-9]{24}",
        "(sk|rk)_(live|test)_[A-Za-z0-9]{24}",
        "whsec_[A-Za-z0-9]{32}",
        "sk-ant-api03-[A-Za-z0-9_-]{80}AA",
        "sk-(proj-)?[A-Za-z0-9]{20}1[A-Za-z0-9]{20}",
        "AIza[A-Za-z0-9_-]{35}",
        "SG\\.[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}",
        "npm_[A-Za-z0-9]{36}",
        "pypi-AgEIcHlwaS5vcmc[A-Za-z0-9]{40}",
        "sbp_[a-f0-9]{40}",
        "eyJ[A-Za-z0-9_-]{20}\\.eyJ[A-Za-z0-9_-]{30}\\.[A-Za-z0-9_-]{20,43}",
    ]
}

fn card() -> impl Strategy<Value = String> {
    ("(4[0-9]{3}|5[1-5][0-9]{2})[0-9]{11}", prop_oneof![Just(""), Just(" "), Just("-")]).prop_map(
        |(digits, between)| {
            let check = (0..10).map(|digit| format!("{digits}{digit}"));
            let number: String = check.filter(|it| super::super::card::is_number(it.as_bytes())).collect();
            let groups: Vec<&str> = (0..4).map(|group| &number[group * 4..group * 4 + 4]).collect();
            groups.join(between)
        },
    )
}

fn planted() -> impl Strategy<Value = Planted> {
    let by_look = itself().prop_map(|secret| Planted { written: secret.clone(), secret });
    let value = "[A-Za-z][A-Za-z0-9!*_.]{6,14}[0-9][a-z]{2}";
    #[rustfmt::skip]
    let places = vec![
        ("password=", ""), ("password: ", ""), ("db_password='", "'"), ("\"apiKey\": \"", "\""), ("client_secret=\"", "\""),
        ("\\\"token\\\":\\\"", "\\\""), ("postgres://app:", "@db.example.com/shop"), ("https://x.io/?a=1&token=", "&b=2"),
        ("Cookie: sid=", "; theme=dark\n"), ("Set-Cookie: a=", "; Path=/\n"), ("Authorization: Bearer ", "\n"),
        ("X-Api-Key: ", ""), ("Authorization: Basic ", "\n"), ("Server=h;Pwd=", ";Database=x"), ("--password ", ""),
        ("('cookie', 'a=", "')"), ("<password>", "</password>"), ("%22password%22%3A%22", "%22"), ("PGPASSWORD=", ""),
        ("redis://:", "@cache:6379/0"), ("user[password]=", "&x=1"), ("next=%2Fa%3Ftoken%3D", "%26b%3D1"), ("Bearer ", ""),
    ];
    let by_name = (value, prop::sample::select(places))
        .prop_map(|(secret, (before, after))| Planted { written: format!("{before}{secret}{after}"), secret });
    prop_oneof![by_look, by_name]
}

/// Ordinary text of people and programs.
fn ordinary() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,9}", 1 => "[A-Z][a-z]{1,9}", 2 => "[0-9]{1,6}", 1 => Just("Error".to_owned()),
        1 => "[a-f0-9]{32}", 1 => "/[a-z]{2,6}/[a-z]{2,8}\\.(rs|ts|py):[0-9]{1,4}:[0-9]{1,3}", 1 => "v?[0-9]\\.[0-9]{1,2}\\.[0-9]",
        1 => "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", 1 => "2026-1[0-2]-[12][0-9]T0[0-9]:[0-5][0-9]:00Z",
        1 => "[äöüéß]{1,4}", 1 => "(count|status|page)=[0-9]{1,3}", 1 => "\\([a-z]{3,8}\\)", 1 => "https://[a-z]{3,8}\\.io/[a-z]{2,5}\\?p=[0-9]",
    ];
    let between = prop_oneof![6 => Just(" "), 1 => Just(", "), 1 => Just("\n"), 1 => Just(". ")];
    prop::collection::vec((piece, between), 0..14)
        .prop_map(|parts| parts.into_iter().flat_map(|(piece, between)| [piece, between.to_owned()]).collect())
}

/// The secret within ordinary text, or in JSON, at each position where JSON can contain it.
fn structure() -> impl Strategy<Value = (Value, String)> {
    let inside = (ordinary(), planted(), ordinary(), 0..9_u8).prop_map(|(before, planted, after, place)| {
        let text = format!("{before} {} {after}", planted.written);
        let value = match place {
            0 => json!(text),
            1 => json!({ "message": text }),
            2 => json!({ text: 1, "b": [before] }),
            3 => json!([[before, 1], ["x", text]]),
            4 => json!({ "body": json!({ "a": [text] }).to_string() }),
            5 => json!({ "body": json!({ "a": json!({ "b": text }).to_string() }).to_string() }),
            6 => json!({ "a": before, "password": planted.secret, "c": after }),
            7 => json!({ "headers": [["Host", "x"], ["X-Api-Key", planted.secret], ["Accept", after]] }),
            _ => json!([{ "name": "auth_token", "value": planted.secret }, { "name": before, "value": after }]),
        };
        (value, planted.secret)
    });
    (inside, 0..4_usize).prop_map(|((mut value, secret), depth)| {
        for level in 0..depth {
            value =
                if level % 2 == 0 { json!([1, value]) } else { Value::Object(Map::from_iter([("in".into(), value)])) };
        }
        (value, secret)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_secret_survives_among_ordinary_text(before in ordinary(), planted in planted(), after in ordinary()) {
        let text = format!("{before} {} {after}", planted.written);
        let redacted = Redactor::default().text(&text).into_owned();
        prop_assert!(!redacted.contains(&planted.secret), "{redacted}");
        prop_assert_eq!(&Redactor::default().text(&redacted), &redacted);
    }

    #[test]
    fn no_secret_survives_in_json((value, secret) in structure()) {
        let redacted = Redactor::default().value(value);
        prop_assert!(!redacted.to_string().contains(&secret), "{redacted}");
        prop_assert_eq!(&Redactor::default().value(redacted.clone()), &redacted);
    }

    #[test]
    fn a_token_with_a_known_prefix_needs_no_space_around_it(before in "[a-zA-Z ]{0,8}[>=\"'(,/n ]", secret in "(ghp_[A-Za-z0-9]{36}|AKIA[A-Z0-9]{16}|sk_live_[A-Za-z0-9]{24})", after in "[ \"')<&]") {
        let redacted = Redactor::default().text(&format!("{before}{secret}{after}")).into_owned();
        prop_assert!(!redacted.contains(&secret), "{redacted}");
    }

    #[test]
    fn ordinary_text_stays_byte_for_byte(text in ordinary()) {
        prop_assert!(matches!(Redactor::default().text(&text), Cow::Borrowed(_)), "{}", Redactor::default().text(&text));
    }

    #[test]
    fn redaction_is_idempotent(text in any_text()) {
        let once = Redactor::default().text(&text).into_owned();
        prop_assert_eq!(&Redactor::default().text(&once), &once);
    }
}

#[rustfmt::skip]
const FRAGMENTS: &[&str] = &[
    "password", "token", "cookie", "session", "key", "=", ":", "://", " ", "\"", "'", "\\", "\\\"", "[", "]", "{",
    "}", "(", ")", ",", ";", "&", "?", "@", "%40", "%3D", "%3A", "%22", "%", "\n", "\\n", "a", "b.io", "x1",
    "1.2.3.4", "::1", "2001:db8::1", "ghp_0123456789abcdef01", "eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxIn0",
    "AKIAIOSFODNN7EXAMPLE", "Bearer ", "Basic ", "dTpw", "4111 1111 1111 1111", "4111111111111111", "[email]",
    "[token]", "[password]", "-----BEGIN PRIVATE KEY-----", "--", "-", "<", ">", "</", "é", "localhost", "a@b.io",
    "u:p@h:1", "Cookie: ", "Authorization: ", "hooks.slack.com/", "null", "true", "identified by '", "&quot;",
];

/// Fragments that detectors look for, in any order.
fn any_text() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(FRAGMENTS);
    prop::collection::vec(fragment, 0..14).prop_map(|fragments| fragments.concat())
}

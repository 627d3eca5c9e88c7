//! Which reports share a fingerprint.

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::normalise::normalise as normalise_to;
use super::*;
use crate::model::{DeliveryKey, UpstreamGroup};

fn normalise(message: &str) -> String {
    normalise_to(message, usize::MAX)
}

fn report(change: impl FnOnce(&mut Report)) -> Report {
    let mut report = Report::new(DeliveryKey::named("t", b"1"), "t", "boom 7".into(), DateTime::UNIX_EPOCH);
    report.error_type = Some("TypeError".into());
    report.crash_frame = Some("app:pay".into());
    change(&mut report);
    report
}

fn of(change: impl FnOnce(&mut Report)) -> Fingerprint {
    Fingerprint::of_report(&report(change))
}

fn grouped(parts: &[&str]) -> Fingerprint {
    of(|it| it.client_fingerprint = parts.iter().map(|part| (*part).to_owned()).collect())
}

#[test]
fn varying_parts_are_replaced() {
    for (message, normalised) in [
        ("user 42 not found", "user <n> not found"),
        ("took 12.5 ms, 7ms, -3.1e-7 of 1,000.50", "took <n> ms, <n>ms, <n> of <n>"),
        ("between 3-5 on 2026-11-23T06:05:08.1Z", "between <n>-<n> on <n>-<n>-<n>T<n>:<n>:<n>Z"),
        ("worker17 of shard_3 (v1.2.3-rc4)", "worker<n> of shard_<n> (v<n>-rc<n>)"),
        ("order 3f2504e0-4f89-41d3-9a0c-0305e82c3301 failed", "order <uuid> failed"),
        (
            "order:3f2504e0-4f89-41d3-9a0c-0305e82c3301, x_12345678-4f89-41d3-9a0c-0305e82c3301",
            "order:<uuid>, x_<uuid>",
        ),
        ("trace 3ef4e9e07dfd4a8a94935a6c3bf4c5de", "trace <uuid>"),
        ("segfault at 0x7ffe12ab", "segfault at <hex>"),
        ("commit 9fceb02d0ae598e9 missing", "commit <hex> missing"),
        ("connect 10.0.0.7:5432: refused by host:10.0.0.8", "connect <ip>: refused by host:<ip>"),
        ("connect [ip]:5432: refused, [2001:db8::1]:80", "connect <ip>: refused, [<ip>]:<n>"),
        ("no route to fe80::1ff:fe23 or fe80::1%eth0", "no route to <ip> or <ip>"),
        ("call of fe::add", "call of fe::add"),
        ("from 00:1b:44:11:3a:b7", "from <mac>"),
        ("mail to ann.lee+x@example.com bounced, mailto:bob@example.com.", "mail to <email> bounced, mailto:<email>."),
        ("IN (1, 2,3, 17) or [1, 2]", "IN (<n>) or [<n>]"),
        ("missing 'a', 'b' and 3f2504e0-4f89-41d3-9a0c-0305e82c3301, 7", "missing <text> and <uuid>, <n>"),
        (
            "pod web-7d4b9c6f5-x2x9z and web-7d4b9c6f5-qmwbb, not web-7d4b9c6f5-proxy",
            "pod web-<hex>-<id> and web-<hex>-<id>, not web-<hex>-proxy",
        ),
        ("mail to [email] bounced", "mail to <email> bounced"),
        ("react@18.2.0 wants @sentry/node", "react@<n> wants @sentry/node"),
        ("request req_7fGh3kL9sPq2 died", "request req_<id> died"),
        ("no file /srv/app/x7.py: gone", "no file <path>: gone"),
        (r"no file C:\Users\ann\x.txt", "no file <path>"),
        ("GET https://x.example/a?b=1#c: 502 Bad Gateway", "GET <url>: <n> Bad Gateway"),
        ("password=[redacted] for and/or of text/html", "password=[redacted] for and/or of text/html"),
        ("expected </div> at <n>", "expected </div> at <n>"),
        ("line 10:\n\t at x", "line <n>:\nat x"),
        ("plain words stay", "plain words stay"),
        ("deadbeef is a word, decade too", "deadbeef is a word, decade too"),
    ] {
        assert_eq!(normalise(message), normalised);
    }
}

#[test]
fn quoted_text_is_replaced_and_an_apostrophe_quotes_nothing() {
    for (message, normalised) in [
        ("Cannot read properties of undefined (reading 'foo')", "Cannot read properties of undefined (reading <text>)"),
        ("KeyError: 'a'", "KeyError: <text>"),
        ("can't find 'x', don't ask the users' table", "can't find <text>, don't ask the users' table"),
        ("no 'it\\'s' here", "no <text> here"),
        ("no 'isn't' here", "no <text> here"),
        ("say \"a \\\"b\\\" c\" now", "say <text> now"),
        (r"in 'C:\dir\' now", "in <text> now"),
        ("KeyError: b'x' u\"y\" rb'z' of tab'x'", "KeyError: b<text> u<text> rb<text> of tab'x'"),
        ("column \"a\".\"b\" = ''", "column <text>.<text> = <text>"),
        ("`foo' and `bar'", "<text> and <text>"),
        ("`foo` and `bar`", "<text> and <text>"),
        ("“a” „b“ ‘c’ «d» ‹e› 「f」", "<text> <text> <text> <text> <text> <text>"),
        ("a 5\" pipe and 'tis lost", "a <n>\" pipe and 'tis lost"),
        ("he said \"no more words", "he said \"no more words"),
        ("'open\nand 'closed'", "'open\nand <text>"),
        ("json {\"a\": \"b\"}", "json {<text>: <text>}"),
    ] {
        assert_eq!(normalise(message), normalised);
    }
}

#[test]
fn type_message_and_frame_each_distinguish_errors() {
    let same = of(|_| {});
    assert_eq!((same.as_str().len(), &same.as_str()[..3]), (35, "v2:"));
    assert_eq!(of(|it| it.message = "boom 8".into()), same);
    assert_eq!(of(|it| it.application = "other".into()), same);
    for other in [
        of(|it| it.error_type = Some("RangeError".into())),
        of(|it| it.error_type = None),
        of(|it| it.message = "bang 7".into()),
        of(|it| it.crash_frame = Some("app:refund".into())),
        of(|it| it.crash_frame = None),
    ] {
        assert_ne!(other, same);
    }
}

#[test]
fn a_template_replaces_the_messages_formatted_from_it() {
    let of = |message: &str, template: &str| {
        of(|it| {
            it.message = message.into();
            it.context.insert(MESSAGE_TEMPLATE.into(), template.into());
        })
    };
    assert_eq!(of("user Ann left", "user %s left"), of("user Bob left", "user %s left"));
    assert_ne!(of("user Ann left", "user %s left"), of("user Ann left", "%s Ann left"));
    assert_ne!(of("user Ann left", " "), of("user Bob left", " "));
}

#[test]
fn the_reporters_own_grouping_is_honoured() {
    let default = of(|_| {});
    for own in [&["{{ default }}"][..], &["{{default}}"], &["{{   default  }}"], &[], &[""], &["{{ default }}", " "]] {
        assert_eq!(grouped(own), default, "{own:?}");
    }
    for other in
        [&["checkout"][..], &["{{ default }}", "checkout"], &["checkout", "{{ default }}"], &["default"], &["a", "b"]]
    {
        assert_ne!(grouped(other), default, "{other:?}");
    }
    assert_eq!(grouped(&["{{default}}", "x"]), grouped(&["{{ default }}", "x"]));
    assert_ne!(grouped(&["a", "b"]), grouped(&["ab"]));
    assert_ne!(grouped(&["row 1"]), grouped(&["row 2"]), "a part is taken as given");
    let with = |message: &str, parts: [&str; 2]| {
        of(|it| {
            it.message = message.into();
            it.client_fingerprint = parts.map(str::to_owned).to_vec();
        })
    };
    assert_eq!(with("one thing", ["a", "b"]), with("another thing", ["a", "b"]));
    assert_ne!(with("one thing", ["{{ default }}", "b"]), with("another thing", ["{{ default }}", "b"]));
}

#[test]
fn variables_are_expanded_from_the_report() {
    let with = |part: &str| {
        of(|it| {
            it.message = "TypeError: x is 7".into();
            it.crash_frame = Some("app.views:Pay.run".into());
            it.context.insert("transaction".into(), json!("GET /x"));
            it.context.insert("level".into(), json!("error"));
            it.context.insert("tags".into(), json!({"tenant": "acme"}));
            it.client_fingerprint = vec![part.to_owned()];
        })
    };
    for (variable, value) in [
        ("{{ type }}", "TypeError"),
        ("{{error.type}}", "TypeError"),
        ("{{ value }}", "x is 7"),
        ("{{ module }}", "app.views"),
        ("{{ function }}", "Pay.run"),
        ("{{ stack.function }}", "Pay.run"),
        ("{{ transaction }}", "GET /x"),
        ("{{ level }}", "error"),
        ("{{ tags.tenant }}", "acme"),
    ] {
        assert_eq!(with(variable), with(value), "{variable}");
    }
    for unknown in ["{{ logger }}", "{{ nonsense }}", "{{ tags.other }}", "{{", "{{}}"] {
        assert_ne!(with(unknown), with("{{ type }}"), "{unknown}");
    }
}

#[test]
fn another_systems_group_takes_precedence() {
    let group = |id: &str| Some(UpstreamGroup { system: "sentry".into(), id: id.into() });
    let of = |id: &str| {
        of(|it| {
            it.upstream_group = group(id);
            it.client_fingerprint = vec!["x".into()];
        })
    };
    assert_eq!(of("4711").as_str(), "sentry:4711");
    assert_eq!(of(&"x".repeat(65)).as_str().len(), 71);
    assert_eq!(Fingerprint::of_health_check("backend").as_str(), "health:backend");
}

#[test]
fn a_long_text_costs_no_more_than_its_length() {
    // A quadratic algorithm would take minutes here.
    for unit in [
        "\"", "'", " '", " \"a", "`", "“", "“ ", " '\\", "a.", "a:", "a@", "/", "/a", "a/", "1.", "-", "<n>", "[", "(",
        "a-", "é", "::", "{{", "%(",
    ] {
        let text = unit.repeat(100_000 / unit.len());
        assert!(!normalise(&text).is_empty());
        let _ = of(|it| {
            it.message.clone_from(&text);
            it.crash_frame = Some(text.clone());
        });
    }
}

/// Random mixtures of what the rules match.
fn tricky() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,4}",
        "[0-9]{1,4}",
        "[0-9a-f]{6,9}",
        "[ \"'`/.:@<>=%+_\\[\\]{}()?#,\\\\-]{1,2}",
        "\n",
        Just("[email]".to_owned()),
        Just("[ip]".to_owned()),
        Just("://".to_owned()),
        Just("C:\\".to_owned()),
        Just("\u{201c}".to_owned()),
        Just("’".to_owned()),
        Just("10.0.0.7".to_owned()),
        Just("a@b.co".to_owned()),
        Just("é".to_owned()),
        Just("0x".to_owned()),
        Just("3f2504e0-4f89-41d3-9a0c-0305e82c3301".to_owned()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Two values of one kind.
fn two_of_a_kind() -> impl Strategy<Value = (String, String)> {
    let number = || "-?[0-9]{1,12}(\\.[0-9]{1,6})?";
    let uuid = || any::<u128>().prop_map(|bits| uuid::Uuid::from_u128(bits).to_string());
    let email = || "[a-z]{1,8}(\\.[a-z0-9]{1,5})?@[a-z]{1,8}\\.(com|org|co\\.uk)";
    let path = || "(/[a-zA-Z0-9_.-]{0,5}[a-z0-9]){1,5}";
    let url = || "https?://[a-z]{1,9}\\.example(:[0-9]{2,4})?(/[a-z0-9]{1,5}){0,3}(\\?[a-z]=[0-9]{1,3})?";
    let ip = || any::<[u8; 4]>().prop_map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
    let quoted = || "'[a-zA-Z0-9 ,/:-]{0,20}'";
    let double = || "\"[a-zA-Z0-9 ',/:-]{0,20}\"";
    prop_oneof![
        (number(), number()),
        (uuid(), uuid()),
        (email(), email()),
        (path(), path()),
        (url(), url()),
        (ip(), ip()),
        (quoted(), quoted()),
        (double(), double()),
    ]
}

proptest! {
    #[test]
    fn any_report_has_one_short_stable_fingerprint(
        message in any::<String>(), kind in any::<Option<String>>(), frame in any::<Option<String>>(),
        client in prop::collection::vec(any::<String>(), 0..3),
    ) {
        let make = || of(|it| {
            it.message.clone_from(&message);
            it.error_type.clone_from(&kind);
            it.crash_frame.clone_from(&frame);
            it.client_fingerprint.clone_from(&client);
        });
        let once = make();
        prop_assert_eq!(&once, &make());
        prop_assert!(once.as_str().len() == 35);
    }

    #[test]
    fn normalisation_is_idempotent(text in prop_oneof![any::<String>(), tricky()]) {
        let once = normalise(&text);
        prop_assert_eq!(normalise(&once), once);
    }

    #[test]
    fn the_limit_cuts_and_changes_nothing_else(text in tricky(), limit in 0_usize..60) {
        let (whole, cut) = (normalise(&text), normalise_to(&text, limit));
        prop_assert!(whole.starts_with(&cut) && (cut.len() >= limit || cut == whole));
    }

    #[test]
    fn frame_normalisation_is_idempotent(frame in prop_oneof![any::<String>(), tricky()]) {
        let once = frame::normalise(&frame);
        prop_assert_eq!(frame::normalise(&once), once);
    }

    #[test]
    fn replaced_parts_never_distinguish_errors((a, b) in two_of_a_kind(), other in "[g-z]{3,9}") {
        let message = |part: &str| of(|it| it.message = format!("the {part} of it is {part}, {part} gone ({part})"));
        prop_assert_eq!(message(&a), message(&b), "{} {}", normalise(&a), normalise(&b));
        prop_assert_ne!(message(&a), of(|it| it.message = format!("the {a} of {other} is {a}, {a} gone ({a})")));
        prop_assert_ne!(message(&a), of(|it| {
            it.message = format!("the {a} of it is {a}, {a} gone ({a})");
            it.crash_frame = Some(format!("app:{other}x"));
        }));
    }
}
